#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Lists the published ConvNeXt weights with the short names that configs and tools accept."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as well

from mmconvnext.checkpoint.zoo import nearest, published  # noqa: E402

HEADER = ('name', 'arch', 'data', 'pixels', 'ema', 'MB', 'licence', 'source')
TO_THE_RIGHT = ('pixels', 'MB')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='List the published ConvNeXt weights. Weights of V2 are CC-BY-NC-4.0: not for '
        'commercial use. mmconvnext/checkpoint/zoo.py tells the columns and their sources.'
    )
    parser.add_argument('pattern', nargs='?', default='', help='only names with this in them')
    parser.add_argument('--urls', action='store_true', help='with the address of each file')
    return parser.parse_args()


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
    args = parse_args()
    table = [HEADER + ('url',) * args.urls]
    for name, row in published().items():
        if args.pattern in name:
            cells = (name, f'{row.version} {row.arch}', row.data, str(row.pixels), row.ema)
            cells += (f'{row.mb:.1f}', row.licence, row.source)
            table.append(cells + (row.url,) * args.urls)
    if len(table) == 1:
        close = ', '.join(nearest(args.pattern)) or 'none; without a pattern, all are listed'
        sys.exit(f'list_weights: no name contains {args.pattern!r}; nearest: {close}')
    print('\n'.join(aligned(table)))


if __name__ == '__main__':
    main()
