# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A config of another ConvNeXt to one of ours: what ``tools/migrate_config.py`` does."""

from __future__ import annotations

import argparse
import sys

from ..migrate.migration import Migration, migrate, refuse_existing
from ..migrate.source import told


def main(argv: list[str] | None = None) -> Migration:
    """Parse ``argv``, write or print the config, print the report, return both."""
    args = _parser().parse_args(argv)
    out = refuse_existing(args.out) if args.out else None
    result = migrate(args.config, out, args.bases)
    if out is None:
        print(result.text, end='')
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open('x', encoding='utf-8') as file:
            file.write(result.text)
    # Beside a config on stdout the report must not get into the file it is sent to.
    print(report(result, out), file=sys.stdout if out else sys.stderr)
    return result


def report(result: Migration, out: object) -> str:
    """The report as text."""
    peers = ', '.join(sorted({one.peer for one in result.renewed}))
    generation = 'mmdet 2 or mmseg 0.x' if result.source.old else 'mmengine'
    lines = [f'{told(result.source.path)}: a config of {generation}, with the ConvNeXt of {peers}']
    if out:
        lines.append(f'{out}: {len(result.text.splitlines())} lines')
    notes = result.notes
    for title, part in (
        ('changed', notes.changed),
        ('lost', notes.lost),
        ('to look at', notes.look),
        ('proof', result.proof),
    ):
        lines += [f'{title}:', *(f'  {line}' for line in dict.fromkeys(part))] if part else []
    return '\n'.join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Rewrites a config with mmpretrain's, mmcls', Meta's or timm's ConvNeXt, and "
        'says what changed, what was lost, and whether parameters and rates are equal.'
    )
    parser.add_argument('config', help="of mmdet 2 or 3, mmseg 0.x or 1.x; 'mmdet::...' if shipped")
    parser.add_argument('-o', '--out', help='the new config, which must not exist; else stdout')
    parser.add_argument(
        '--bases',
        nargs='+',
        default=[],
        metavar='FOLDER',
        help="where to look for a _base_ that is not in its place, such as mmdet 2's configs",
    )
    return parser
