# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Weights from one format to another: what ``tools/convert_checkpoint.py`` does."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..checkpoint.convert import TARGETS, convert
from ..recipe.errors import RecipeError


def main(argv: list[str] | None = None) -> Path:
    """Parse ``argv``, convert, print what was done, return the file that was written."""
    args = vars(_parser().parse_args(argv))
    source, destination, to = args.pop('source'), args.pop('destination'), args.pop('to')
    try:
        path, lines = convert(source, destination, to, **args)
    except (FileExistsError, ValueError) as error:
        raise RecipeError(str(error)) from error
    print(f'{path}: ' + '; '.join(lines))
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Change a ConvNeXt's names to another format's, alone or inside a detector."
    )
    parser.add_argument('source', help='file, URL or short name, in any published format')
    parser.add_argument('destination', help='.pth, .pt, .bin or .safetensors; must not exist')
    parser.add_argument('--to', choices=TARGETS, required=True, help="native: this package's names")
    parser.add_argument(
        '--backbone-only', action='store_true', help='leave the rest of the detector out'
    )
    parser.add_argument(
        '--drop-optimizer', action='store_true', help='leave out all that only a training needs'
    )
    parser.add_argument(
        '--publish',
        action='store_true',
        help="the same, and the first 8 digits of the file's SHA-256 join its name",
    )
    parser.add_argument(
        '--drop-norms',
        action='store_true',
        help='leave out the norms of the returned maps, for formats that have none (timm)',
    )
    parser.add_argument('--prefix', help='where the network lies, if the file holds several')
    parser.add_argument('--envelope', help='key to open, if there are several: ema_state_dict')
    return parser
