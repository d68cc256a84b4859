# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Training: what ``tools/train.py`` does."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mmengine.runner import Runner

from ..checkpoint.mmengine_io import install
from ..recipe.errors import RecipeError
from ..recipe.machine import fit_to_machine
from ..recipe.walk import LOADERS
from ..recipe.work_dir import last_checkpoint, refuse_used
from .loading import Loading
from .options import train_parser
from .prepare import (
    build_runner,
    checked,
    is_lenient,
    read_config,
    require_checkpoint,
    say,
    world_size,
)
from .same_classes import SameClasses
from .same_schedule import SameSchedule


def main(argv: list[str] | None = None) -> Runner:
    """Parse ``argv``, train, return the runner."""
    args = train_parser().parse_args(argv)
    install()
    cfg = read_config(args)
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise RecipeError(
                '--auto-scale-lr needs the batch size of the recipe: set '
                'auto_scale_lr=dict(base_batch_size=...) in the config'
            )
        cfg.auto_scale_lr.enable = True
    _set_resume(cfg, args)
    checked(cfg, LOADERS)
    for line in fit_to_machine(cfg, world_size() if args.launcher != 'none' else 1):
        say(line)
    runner = build_runner(cfg)
    if cfg.get('load_from') or cfg.get('resume'):
        what = 'resume' if cfg.get('resume') else 'load_from'
        runner.register_hook(Loading(what, is_lenient(cfg)))
        runner.register_hook(SameClasses(LOADERS[0], only_warn=what == 'load_from'))
        if what == 'resume':
            runner.register_hook(SameSchedule())
    runner.train()
    return runner


def _set_resume(cfg, args: argparse.Namespace) -> None:
    if args.resume is None:
        refuse_used(cfg.work_dir)
        return
    cfg.resume = True
    if args.resume != 'auto':
        require_checkpoint(args.resume)
        if Path(args.resume).resolve().parent != Path(cfg.work_dir).resolve():
            refuse_used(cfg.work_dir)
        cfg.load_from = args.resume
        return
    cfg.load_from, note = last_checkpoint(cfg.work_dir)
    if note:
        say(note, logging.WARNING)
