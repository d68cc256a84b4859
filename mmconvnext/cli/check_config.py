# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/check_config.py`` does: everything before training, and a report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace

from mmengine.config import Config
from mmengine.runner import set_random_seed
from mmengine.utils.dl_utils import set_multi_processing
from torch import nn

from ..checkpoint.errors import CheckpointError
from ..checkpoint.lookup import look_up
from ..distributed.divided import check_training, check_wrapper
from ..recipe.checks.finding import Finding, settle
from ..recipe.errors import RecipeError
from ..recipe.preflight.build import build_loader, build_model, build_wrapper
from ..recipe.preflight.disk import averages_weights, check_disk, room
from ..recipe.preflight.judge import judge
from ..recipe.preflight.measure import NoRoom, measure_steps, measure_validation
from ..recipe.preflight.samples import Samples, check_batches, read_samples
from ..recipe.preflight.state import State, count_state
from ..recipe.preflight.units import size
from ..recipe.schedule import Schedule
from ..recipe.walk import LOADERS, dicts, type_name
from .check_report import Report, quiet
from .options import check_parser
from .stack import require_stack
from .train import prepare

TRAIN, VAL, _ = LOADERS
SEVERAL = 2  # processes: how many will train is not known here
UNLIMITED = 600.0  # seconds for the samples that a user asked for; our choice


def main(argv: list[str] | None = None) -> None:
    """Parse ``argv``, check the config, print the report.

    Raises:
        RecipeError, CheckpointError: the config is refused; with ``--json`` the report says so too.
        SystemExit: status 1, with ``--strict`` and warnings.
    """
    args = check_parser().parse_args(argv)
    require_stack()
    report = Report(args.config, args.json)
    try:
        examine(args, report)
    except (RecipeError, CheckpointError) as error:
        report.end(error=str(error))
        raise
    report.end()
    if args.strict and report.warnings:
        sys.exit(1)


def examine(args: argparse.Namespace, report: Report) -> None:
    """Fill the report, from what is cheap to what takes long.

    Raises:
        RecipeError, CheckpointError: something is refused.
    """
    with quiet(report.tell, everyone=True):
        cfg = prepare(args, report.table, report.tell)
        check_wrapper(cfg)
        check_training(cfg, SEVERAL)
        _look_up_weights(cfg)
    set_random_seed(0)  # the same samples and steps each time
    set_multi_processing(**_multi_processing(cfg))
    report.show_config(cfg)
    report.show_data()
    with quiet(report.tell):
        model = build_model(cfg)
        wrapper = build_wrapper(cfg, model)
    state = count_state(model, getattr(wrapper, 'optimizer', None))
    report.show_model(cfg, model, state)
    with quiet(report.tell):
        loaders = {name: build_loader(cfg, name) for name in (TRAIN, VAL) if cfg.get(name)}
    _settle(cfg, report, check_batches(loaders[TRAIN]))
    with quiet(report.tell):
        samples = read_all(cfg, loaders, args.samples)
    report.show_samples(samples)
    _settle(cfg, report, judge(cfg, samples))
    train = loaders[TRAIN]
    images = sum(row.images_used for row in report.table if row.name == 'train')
    per_epoch = len(train) if (cfg.train_cfg or {}).get('max_epochs') else 0
    schedule = Schedule.of(cfg, images, per_epoch)
    report.show_schedule(cfg, schedule)
    found = room(cfg, state, schedule.checkpoints) if schedule else None
    report.show_disk(found)
    _settle(cfg, report, check_disk(found))
    if args.steps and schedule and hasattr(wrapper, 'optimizer'):  # not with several optimizers
        _measure(cfg, report, args.steps, model, wrapper, loaders, schedule, state)


def read_all(cfg: Config, loaders: dict, count: int) -> list[Samples]:
    """Samples of training, and one of validation."""
    counts = {TRAIN: count, VAL: 1}
    return [
        read_samples(loader.dataset, name, counts[name], UNLIMITED)
        for name, loader in loaders.items()
    ]


def _measure(
    cfg: Config,
    report: Report,
    steps: int,
    model: nn.Module,
    wrapper: object,
    loaders: dict,
    schedule: Schedule,
    state: State,
) -> None:
    report.say_progress(f'measuring {steps} training step{"s" * (steps > 1)} ...')
    try:
        with quiet(report.tell):
            measured = measure_steps(model, wrapper, loaders[TRAIN], steps)
            validation = 0.0
            if schedule.validations and VAL in loaders:
                validation = measure_validation(model, loaders[VAL]) * len(loaders[VAL].dataset)
    except NoRoom as error:
        text = (
            f'a training step does not fit into the memory ({error}); weights, gradients and '
            f'optimizer take {size(state.total)}, the rest grows with batch_size and image size: '
            'set train_dataloader.batch_size=1, smaller images or a smaller arch, or '
            'model.backbone.with_cp=True'
        )
        _settle(cfg, report, [Finding(text, 'first_steps')])
    except Exception as error:  # whatever a model raises, training would too
        text = ' '.join(f'{type(error).__name__}: {error}'.split())
        _settle(cfg, report, [Finding(f'a training step fails: {text[:500]}', 'first_steps')])
    else:
        if averages_weights(cfg):
            measured = replace(measured, memory=measured.memory + state.weights)
        workers = (cfg.train_dataloader or {}).get('num_workers', 0)
        report.show_estimates(measured, workers, validation, schedule, state)


def _settle(cfg: Config, report: Report, findings: Iterable[Finding]) -> None:
    for line in settle(cfg, findings):
        report.warnings.append(line)


def _look_up_weights(cfg: Config) -> None:
    """Find every file of weights that the config names; nothing is downloaded."""
    for _, node in dicts(cfg.model):
        init = node.get('init_cfg') or {}
        for one in init if isinstance(init, (list, tuple)) else [init]:
            if type_name(one) == 'Pretrained' and one.get('checkpoint'):
                look_up(one['checkpoint'])
    if cfg.get('load_from'):
        look_up(cfg.load_from)


def _multi_processing(cfg: Config) -> dict:
    return dict((cfg.get('env_cfg') or {}).get('mp_cfg') or {})
