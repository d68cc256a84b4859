# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Are there enough images for the schedule, and for a metric that means something?"""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config

from ..data_table import Split
from ..schedule import Schedule
from ..walk import LOADERS, datasets, type_name
from .finding import Finding

FEW_IMAGES = 10  # to validate on: one of them is worth 10 % of the result; our choice
FEW_ITERATIONS = 10  # in an epoch; our choice
FALLING = ('CosineAnnealingLR', 'PolyLR', 'OneCycleLR')  # schedulers that lower the rate to the end


def check_amounts(cfg: Config, loaders: tuple, rows: list[Split]) -> Iterator[Finding]:
    """Say that few images make the metric noisy, or do not fit a schedule made for many.

    Args:
        rows: of the datasets that were read.
    """
    if LOADERS[0] not in loaders:
        return
    images = {}
    for loader in LOADERS[:2]:
        name = loader.partition('_')[0]
        read = [row.images_used for row in rows if row.name == name]
        whole = len(read) == len(list(datasets(cfg, (loader,))))  # or one was not read
        images[name] = sum(read) if whole else 0
    if 0 < images['val'] < FEW_IMAGES:
        count = images['val']
        yield Finding(
            f'val has {count} image{"s" * (count > 1)}, so its metrics are noisy: do not judge '
            f'small differences by them, or validate on {FEW_IMAGES} or more'
        )
    schedule = Schedule.of(cfg, images['train'])
    if schedule is None or not images['train']:
        return
    if schedule.epochs and schedule.per_epoch < FEW_ITERATIONS:
        yield Finding(
            f'an epoch has {schedule.per_epoch} iteration{"s" * (schedule.per_epoch > 1)} '
            f'({images["train"]} images, {schedule.batch} in a batch), so '
            f'{schedule.epochs} epochs are {schedule.iterations} iterations, and much of the time '
            'goes into validation and checkpoints. Repeat the data: '
            f"train_dataloader.dataset=dict(type='RepeatDataset', times={schedule.repeats}, "
            'dataset=...), or raise max_epochs and val_interval'
        )
    yield from _check_schedulers(cfg, schedule)


def _check_schedulers(cfg: Config, schedule: Schedule) -> Iterator[Finding]:
    """Say that a warm-up takes the whole run, or that the rate is still high at its end."""
    for i, node in enumerate(_schedulers(cfg)):
        by_epoch, end = node.get('by_epoch', True), node.get('end') or 0
        length = schedule.epochs if by_epoch else schedule.iterations
        unit = 'epochs' if by_epoch else 'iterations'
        if not length or end > 10**8:  # mmengine's INF
            continue
        if type_name(node) == 'LinearLR' and not node.get('begin'):
            if end >= length:
                yield Finding(
                    f'param_scheduler.{i}: the warm-up lasts {end} {unit} of {length}, so the '
                    'learning rate never has its full value; set '
                    f'param_scheduler.{i}.end={max(1, length // 10)}'
                )
        elif type_name(node) in FALLING and end > length:
            more = f' and param_scheduler.{i}.T_max={length}' if 'T_max' in node else ''
            yield Finding(
                f'param_scheduler.{i}: {type_name(node)} falls until {end} {unit}, but the run has '
                f'{length}, so the learning rate is still high when it ends; set '
                f'param_scheduler.{i}.end={length}{more}'
            )


def _schedulers(cfg: Config) -> list[dict]:
    given = cfg.get('param_scheduler') or []
    found = [given] if isinstance(given, dict) else list(given)
    return [node for node in found if isinstance(node, dict) and 'type' in node]
