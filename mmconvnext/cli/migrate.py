# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Migration of a config to this package's ConvNeXt: what ``tools/migrate_config.py`` does."""

from __future__ import annotations

import sys

from ..migrate.migration import Migration, migrate, refuse_existing
from ..migrate.source import told
from .options import migrate_parser


def main(argv: list[str] | None = None) -> Migration:
    """Parse ``argv``, write or print the new config, print the report, return both."""
    args = migrate_parser().parse_args(argv)
    out = refuse_existing(args.out) if args.out else None
    result = migrate(args.config, out, args.bases)
    if out is None:
        print(result.text, end='')
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open('x', encoding='utf-8') as file:
            file.write(result.text)
    # A config on stdout may be redirected into a file; the report must not end up in it.
    print(report(result, out), file=sys.stdout if out else sys.stderr)
    return result


def report(result: Migration, out: object) -> str:
    """The report as text: what changed, what was lost, what to look at, what was proved."""
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
