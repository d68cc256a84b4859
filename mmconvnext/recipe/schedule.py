# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How long a config trains: iterations, epochs, validations and checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmengine.config import Config

from .ranks import world_size
from .walk import type_name

REPEATED = 10  # iterations that an epoch should have at least; our choice


@dataclass(frozen=True)
class Schedule:
    """The length of a run; ``epochs`` is 0 if the config counts iterations."""

    batch: int  # images in an iteration, of all processes
    per_epoch: int  # iterations
    epochs: int
    iterations: int
    validations: int
    checkpoints: int

    @property
    def repeats(self) -> int:
        """How often small data must be repeated to fill an epoch."""
        return math.ceil(REPEATED / max(1, self.per_epoch))

    @classmethod
    def of(cls, cfg: Config, images: int, per_epoch: int = 0) -> Schedule | None:
        """The schedule of a config for ``images`` in training; None without a known train loop.

        Args:
            per_epoch: iterations of an epoch, if the loader knows better.
        """
        loop, loader = cfg.get('train_cfg') or {}, cfg.get('train_dataloader') or {}
        epochs, iterations = loop.get('max_epochs'), loop.get('max_iters')
        size = loader.get('batch_size') or (loader.get('batch_sampler') or {}).get('batch_size')
        if not isinstance(size, int) or not size or not (epochs or iterations):
            return None
        processes = 1 if cfg.get('launcher', 'none') == 'none' else world_size()
        batch = size * processes
        per_epoch = per_epoch or max(1, math.ceil(images * _times(loader.get('dataset')) / batch))
        iterations = epochs * per_epoch if epochs else iterations
        steps = epochs or iterations
        return cls(
            batch=batch,
            per_epoch=per_epoch,
            epochs=epochs or 0,
            iterations=iterations,
            validations=_validations(loop, steps) if cfg.get('val_cfg') is not None else 0,
            checkpoints=_checkpoints(cfg, steps, per_epoch, bool(epochs)),
        )


def _times(dataset: object) -> int:
    """How often RepeatDataset shows an image in an epoch."""
    if not isinstance(dataset, dict):
        return 1
    times = dataset.get('times', 1) if type_name(dataset) == 'RepeatDataset' else 1
    return times * _times(dataset.get('dataset'))


def _validations(loop: dict, steps: int) -> int:
    """By the rules of mmengine's loops: at every interval, and at the end."""
    changes = [(0, loop.get('val_interval', 1)), *loop.get('dynamic_intervals', ())]
    begin, found = loop.get('val_begin', 1), 0
    for step in range(max(1, begin), steps + 1):
        interval = [value for start, value in changes if start <= step + 1][
            -1
        ]  # as mmengine counts
        found += step == steps or (interval > 0 and step % interval == 0)
    return found


def _checkpoints(cfg: Config, steps: int, per_epoch: int, in_epochs: bool) -> int:
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    interval = hook.get('interval', -1)
    by_epoch = hook.get('by_epoch', True)
    if not by_epoch and in_epochs:
        steps *= per_epoch
    last = hook.get('save_last', True)
    if interval <= 0 or (by_epoch and not in_epochs):  # a run by iterations is a single epoch
        return int(last)
    return steps // interval + bool(steps % interval and last)
