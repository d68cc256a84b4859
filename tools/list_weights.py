#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""List the published ConvNeXt weights with the short names that configs and tools accept."""

from __future__ import annotations

import signal
import sys

from _start import load, read_options

HEADER = ('name', 'arch', 'data', 'pixels', 'ema', 'MB', 'licence', 'source')
TO_THE_RIGHT = ('pixels', 'MB')


def aligned(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table)]
    right = [title in TO_THE_RIGHT for title in table[0]]
    return [
        '  '.join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right)
        ).rstrip()
        for row in table
    ]


def main() -> None:
    args = read_options('list_weights')
    zoo = load('checkpoint/zoo.py')
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly when `| head` has read enough
    table = [HEADER + ('url',) * args.urls]
    for name, row in zoo.published().items():
        if args.pattern in name:
            cells = (name, f'{row.version} {row.arch}', row.data, str(row.pixels), row.ema)
            cells += (f'{row.mb:.1f}', row.licence, row.source)
            table.append(cells + (row.url,) * args.urls)
    if len(table) == 1:
        close = ', '.join(zoo.nearest(args.pattern)) or 'none; leave the pattern out to list all'
        sys.exit(f'list_weights: no name contains {args.pattern!r}; nearest: {close}')
    print('\n'.join(aligned(table)))


if __name__ == '__main__':
    main()
