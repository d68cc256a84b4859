# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A page about a dataset: what ``tools/browse_dataset.py`` does."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..analysis.dataset import browse
from ..analysis.dataset.report import FIGURES, Browsed
from ..recipe.errors import RecipeError
from ..recipe.prepare import prepare_config
from .cfg_options import read_cfg_options
from .options import browse_parser
from .out_folder import new_folder
from .stack import require_extra, require_stack


def main(argv: list[str] | None = None) -> Browsed:
    """Parse ``argv``, write the page, print a summary; return what was found."""
    args = browse_parser().parse_args(argv)
    require_stack()
    require_extra('supervision')
    folder = new_folder(args.out)
    cfg = prepare_config(
        args.config,
        read_cfg_options(args.cfg_options),
        only_data=args.config_only_data,
        training=args.split != 'test',
        toy=args.toy,
        work_dir=str(folder),  # so that no work dir is looked at; nothing is written there
    )
    if not cfg.get(f'{args.split}_dataloader'):
        raise RecipeError(f'{args.config} has no {args.split}_dataloader; choose another --split')
    found = browse(
        cfg,
        folder,
        title=f'{Path(args.config).name}: {args.split}',
        split=args.split,
        num=args.num,
        augmented=args.augmented,
        seed=args.seed,
        tell=lambda line: print(f'{line} ...', flush=True),
    )
    print(_summary(found, args))
    return found


def _summary(found: Browsed, args: argparse.Namespace) -> str:
    lines = ['', found.about]
    if found.suspicions:
        lines.append('worth a look:')
    lines += [f'  {one.count:7} of {one.total} {one.what}' for one in found.suspicions]
    lines += [f'figures  {found.page.with_name(FIGURES)}', f'page     {found.page}']
    return '\n'.join(lines)
