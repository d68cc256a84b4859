# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The one way from options to a config that is ready to run."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..checkpoint import zoo
from ..checkpoint.errors import CheckpointError
from ..recipe.checks import check_recipe
from ..recipe.errors import RecipeError
from ..recipe.load import load_config
from ..recipe.own_data import apply_own_data
from ..recipe.own_data.given import is_applied
from ..recipe.own_data.namespace import LINE
from ..recipe.walk import registered
from ..recipe.work_dir import default_work_dir
from .stack import require_stack


def read_config(args: argparse.Namespace) -> Config:
    """Config of ``args``: loaded, own data or toy data applied, options merged, work dir set.

    A config that ends with ``use_own_data`` has its own data already; they are applied anew where
    an option changes them, and to older configs, which lack that line.
    """
    require_stack()
    # Options for own_data come before it is expanded; all others last, so that they have the final
    # say over what own_data and --toy set.
    options = args.cfg_options or {}
    first = {key: value for key, value in options.items() if key.partition('.')[0] == 'own_data'}
    cfg = load_config(args.config)
    if 'own_data' in cfg and not is_applied(cfg):
        say(
            f'own_data of {args.config} reaches these tools alone, not init_detector, nor the '
            f'tools of mmdet and mmseg; for those make this the last line of the file: {LINE}',
            logging.WARNING,
        )
    cfg.merge_from_dict(first)
    if args.toy:
        from ..recipe.toy import make_toy

        make_toy(cfg)
    apply_own_data(cfg)
    cfg.merge_from_dict({key: value for key, value in options.items() if key not in first})
    cfg.launcher = args.launcher
    if is_lenient(cfg) or args.lenient:
        cfg.lenient_loading = True
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or default_work_dir(args.config, args.toy)
    return cfg


def build_runner(cfg: Config) -> Runner:
    """mmengine's Runner, or the one of its kind that ``runner_type`` names.

    Raises:
        RecipeError: it is of another kind. FlexibleRunner has no model before its strategy builds,
            initialises and perhaps shards it, and loads before the hook that spares downloads; what
            a checkpoint fills is not known of shards.
    """
    name = cfg.get('runner_type')
    kind = registered(cfg, RUNNERS, dict(type=name)) if name else Runner
    if kind is None or not issubclass(kind, Runner):
        raise RecipeError(
            f"runner_type={name!r}: these tools look into the model of mmengine's Runner, or of a "
            'subclass, before it loads; take the line out, or write runner_type=None (sharding '
            "is model_wrapper_cfg=dict(type='MMFullyShardedDataParallel') there), or use mmdet's "
            'own tools/train.py'
        )
    return kind.from_cfg(cfg)


def is_lenient(cfg: Config) -> bool:
    """Whether a checkpoint that does not fill the model is a warning, not an error.

    Raises:
        RecipeError: ``lenient_loading`` is neither True nor False.
    """
    lenient = cfg.get('lenient_loading', False)
    if not isinstance(lenient, bool):
        raise RecipeError(f'lenient_loading={lenient!r}: choose True or False')
    return lenient


def checked(cfg: Config, loaders: tuple) -> None:
    """Run all checks of the config and its data; log the warnings."""
    for warning in check_recipe(cfg, loaders):
        say(warning, logging.WARNING)


def require_checkpoint(checkpoint: str) -> None:
    """Check that a path, or a short name of published weights, is one; URLs are left alone.

    Raises:
        RecipeError: there is neither such a file nor such a name.
    """
    if '://' in checkpoint or Path(checkpoint).exists() or zoo.find(checkpoint):
        return
    near = zoo.nearest(checkpoint)
    raise RecipeError(
        f'there is no checkpoint {checkpoint!r}, and no published weights are called so'
        + (f'; did you mean {", ".join(near)}?' if near else '')
    )


def say(line: str, level: int = logging.INFO) -> None:
    """Log a line before the runner has set up its own logger; on rank 0 only."""
    if int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0:
        print_log(line, logger=None if level == logging.INFO else 'current', level=level)


def world_size() -> int:
    """Processes of this run, as torchrun, slurm and Open MPI announce them."""
    names = ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')
    return next((int(os.environ[name]) for name in names if name in os.environ), 1)


def run(main: Callable[[], None]) -> None:
    """Call a tool's ``main``; show what the user can mend as one message, exit status 2."""
    try:
        main()
    except (RecipeError, CheckpointError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
