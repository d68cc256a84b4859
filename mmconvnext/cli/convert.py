# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Conversion of weights between formats: what ``tools/convert_checkpoint.py`` does."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint.convert import convert
from ..recipe.errors import RecipeError
from .options import convert_parser


def main(argv: list[str] | None = None) -> Path:
    """Parse ``argv``, convert, print a summary, return the path of the written file."""
    args = vars(convert_parser().parse_args(argv))
    source, destination, to = args.pop('source'), args.pop('destination'), args.pop('to')
    try:
        path, lines = convert(source, destination, to, **args)
    except (FileExistsError, ValueError) as error:
        raise RecipeError(str(error)) from error
    print(f'{path}: ' + '; '.join(lines))
    return path
