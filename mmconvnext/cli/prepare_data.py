# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Preparation of people's data: what ``tools/prepare_data.py`` does."""

from __future__ import annotations

import sys
from pathlib import Path

from ..data import archives
from ..data.exports.folder import SourceError
from ..data.exports.prepare import Settings, prepare
from ..recipe.errors import RecipeError
from .options import prepare_parser
from .stack import require_extra
from .system_errors import told


def main(argv: list[str] | None = None) -> None:
    """Parse ``argv``, convert or check, print the report.

    Raises:
        RecipeError: the data cannot be used; the message says why, and the way out.
    """
    args = prepare_parser().parse_args(argv)
    require_extra('defusedxml')
    try:
        if args.check_coco or args.check_ade:
            _check('coco' if args.check_coco else 'ade', args.check_coco or args.check_ade, args)
            return
        settings = Settings(*(getattr(args, name) for name in Settings._fields))
        lines = prepare(args.source, args.out, settings)[1]
    except (SourceError, ValueError) as error:
        raise RecipeError(str(error)) from error
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        raise RecipeError(told(error) or f'{where}{error.strerror or error}') from error
    print('\n'.join(lines).encode(errors='backslashreplace').decode())


def _check(kind: str, root: Path, args) -> None:
    if not root.is_dir():
        raise RecipeError(f'{root} is no folder')
    if args.lay_out:
        archives.lay_out(kind, root, args.lay_out, print)
        root = args.lay_out
    rows = archives.check(kind, root)
    for row in rows:
        state, way = ('FAULT', f'; {row.way}') if row.way else ('ok   ', '')
        print(f'{state}  {row.path}: {row.what}{way}')
    if any(row.way for row in rows):
        sys.exit(1)
    print(f'{archives.LAYOUTS[kind].title} is complete')
