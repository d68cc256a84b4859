# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Training: what ``tools/train.py`` does."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoint.mmengine_io import install
from ..distributed.divided import check_training
from ..faults.bad_data import data_settings
from ..faults.bad_numbers import watch_numbers
from ..faults.hook import BadData, expected, train_naming
from ..hooks.empty_batches import EmptyBatches
from ..hooks.loading import Loading
from ..hooks.preflight import Preflight
from ..hooks.same_classes import SameClasses
from ..hooks.same_schedule import SameSchedule
from ..recipe.data_table import Split, changed_data, write_table
from ..recipe.errors import RecipeError
from ..recipe.lock import hold
from ..recipe.policies import policy
from ..recipe.prepare import is_lenient, prepare_config
from ..recipe.ranks import log_rank0, rank, world_size
from ..recipe.walk import LOADERS, task
from ..resume.runner import exact
from .cfg_options import read_cfg_options
from .options import train_parser
from .runner import build_runner
from .stack import require_stack
from .trackers import GroupRates, add_trackers


def main(argv: list[str] | None = None) -> Runner:
    """Parse ``argv``, train, return the runner."""
    args = train_parser().parse_args(argv)
    require_stack()
    install()
    table: list[Split] = []
    warnings: list[str] = []

    def tell(line: str, level: int = logging.INFO) -> None:
        log_rank0(line, level)
        if level >= logging.WARNING:
            warnings.append(line)

    cfg = prepare(args, table, tell)
    check_training(cfg, 1 if args.launcher == 'none' else world_size())
    held = hold(cfg.work_dir) if rank() == 0 else None
    runner = build_runner(cfg, lambda kind: exact(kind, args.save_minutes))
    runner.held = held  # as long as it lives
    if table and rank() == 0:
        changed = changed_data(table, cfg.work_dir) if cfg.get('resume') else ''
        if changed:
            tell(changed, logging.WARNING)
        write_table(table, cfg.work_dir)
    runner.register_hook(Preflight(table, warnings))
    if task(cfg) == 'mmdet':
        runner.register_hook(EmptyBatches())
    if cfg.get('load_from') or cfg.get('resume'):
        purpose = 'resume' if cfg.get('resume') else 'load_from'
        runner.register_hook(Loading(purpose, is_lenient(cfg)))
        runner.register_hook(SameClasses(LOADERS[0], only_warn=purpose == 'load_from'))
        if purpose == 'resume':
            runner.register_hook(SameSchedule())
    if args.tensorboard or args.wandb:
        runner.register_hook(GroupRates())
    watch_numbers(runner, policy(cfg, 'on_bad_numbers'))
    bad_data = BadData(data_settings(cfg), expected(cfg))
    runner.register_hook(bad_data)
    train_naming(runner, bad_data)
    if rank() == 0:
        from .next_steps import (
            after_training,  # it knows the charts, which no start has to wait for
        )

        for line in after_training(runner):
            print(line)
    return runner


def prepare(args: argparse.Namespace, table: list[Split], tell: Callable[..., None]) -> Config:
    """The config that a training with these options runs; see :func:`.prepare_config`."""
    return prepare_config(
        args.config,
        read_cfg_options(args.cfg_options),
        only_data=args.config_only_data,
        toy=args.toy,
        work_dir=args.work_dir,
        lenient=args.lenient,
        launcher=args.launcher,
        resume=args.resume,
        edit=lambda cfg: apply_flags(cfg, args),
        table=table,
        tell=tell,
    )


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Set what ``--amp``, ``--auto-scale-lr``, ``--on-bad-numbers`` and ``--on-bad-data`` say.

    Raises:
        RecipeError: the config has no batch size to scale from, or a wrong ``on_bad_data``.
    """
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise RecipeError(
                '--auto-scale-lr needs the batch size of the recipe: set '
                'auto_scale_lr=dict(base_batch_size=...) in the config'
            )
        cfg.auto_scale_lr.enable = True
    if args.on_bad_numbers:
        cfg.on_bad_numbers = args.on_bad_numbers
    if args.on_bad_data:
        cfg.on_bad_data = args.on_bad_data
    data_settings(cfg)
    add_trackers(cfg, args.tensorboard, args.wandb)
