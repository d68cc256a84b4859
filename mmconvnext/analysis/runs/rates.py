# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The learning rates of a run's depth groups.

mmengine logs the rate of one group of the optimizer. Schedulers multiply all groups alike (except
those with ``eta_min``), so the others are that rate times a factor, which is found by building
model and groups again on the meta device: it computes no values, and works for finished runs.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, init_default_scope
from torch import nn

from ...recipe.walk import task


class Rate(NamedTuple):
    """The parameters that share a learning rate."""

    factor: float  # of the logged rate
    depths: tuple[int, int] | None  # least and greatest depth; None with other constructors
    parameters: int


def is_flat(cfg: Config) -> bool:
    """Whether the config has no options that give parameters different learning rates."""
    wrapper = cfg.get('optim_wrapper') or {}
    return not wrapper.get('paramwise_cfg') and not wrapper.get('constructor')


def rates(cfg: Config) -> list[Rate]:
    """The learning rates of a config's optimizer, lowest first.

    Raises:
        Exception: of any kind, from code of the config: a module that is not installed, a model
            that cannot be built, several optimizers.
    """
    init_default_scope(task(cfg))
    with _silent():
        with torch.device('meta'):
            model = MODELS.build(copy.deepcopy(cfg.model))  # some change their config
        groups = _groups(cfg.optim_wrapper, model)
    logged = groups[0][0]
    found: dict[float, Rate] = {}
    for lr, depths, count in groups:
        factor = round(lr / logged, 9)
        old = found.get(factor, Rate(factor, depths, 0))
        if depths and old.depths:
            depths = min(depths[0], old.depths[0]), max(depths[1], old.depths[1])
        found[factor] = Rate(factor, depths, old.parameters + count)
    return sorted(found.values())


def _groups(cfg: dict, model: nn.Module) -> list[tuple[float, tuple[int, int] | None, int]]:
    """Learning rate, depths and parameters of each group."""
    # Any optimizer has the same groups; the config's may need a GPU or another package.
    optimizer = {k: cfg['optimizer'][k] for k in ('lr', 'weight_decay') if k in cfg['optimizer']}
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', **optimizer))
    kind = OPTIM_WRAPPER_CONSTRUCTORS.get(cfg.get('constructor', 'DefaultOptimWrapperConstructor'))
    options = cfg.get('paramwise_cfg')
    if hasattr(kind, 'groups'):
        _, groups = kind(wrapper, options).groups(model, {})
        rows = [(g.settings['lr'], (min(g.depths), max(g.depths)), g.params) for g in groups]
    else:
        wrapper.update(constructor=cfg.get('constructor'), paramwise_cfg=options)
        built = build_optim_wrapper(model, {k: v for k, v in wrapper.items() if v is not None})
        rows = [(group['lr'], None, group['params']) for group in built.param_groups]
    return [(lr, depths, sum(p.numel() for p in params)) for lr, depths, params in rows]


@contextmanager
def _silent() -> Iterator[None]:
    """No log lines while a model is built that is not used."""
    logger = MMLogger.get_current_instance()
    levels = [(handler, handler.level) for handler in logger.handlers]
    for handler, _ in levels:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in levels:
            handler.setLevel(level)
