# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Builds what a run would, without a Runner: nothing is written, no weights are downloaded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ..errors import RecipeError
from ..walk import dicts, task, type_name


def build_model(cfg: Config) -> nn.Module:
    """The model on the device of a run, from random weights; checkpoints are not read.

    Raises:
        RecipeError: it cannot be built.
    """
    init_default_scope(task(cfg))
    config = copy.deepcopy(cfg.model)
    for _, node in dicts(config):
        if type_name(node.get('init_cfg') or {}) == 'Pretrained':
            node['init_cfg'] = None
        for key in ('pretrained', 'teacher_ckpt'):
            if node.get(key):
                node[key] = None
    with _explained('the model'):
        model = MODELS.build(config)
        model.init_weights()
    return revert_sync_batchnorm(model).to(get_device())


def build_wrapper(cfg: Config, model: nn.Module) -> OptimWrapper:
    """The optimizer wrapper of a config; of a ZeroRedundancyOptimizer the one that it divides.

    Raises:
        RecipeError: it cannot be built.
    """
    settings = copy.deepcopy(cfg.optim_wrapper)
    for _, node in dicts(settings):
        if 'optimizer_type' in node:  # ZeroRedundancyOptimizer, which only several processes can be
            node['type'] = node.pop('optimizer_type')
            node.pop('parameters_as_bucket_view', None)
    with _explained('the optimizer'):
        return build_optim_wrapper(model, settings)


def build_loader(cfg: Config, name: str) -> DataLoader:
    """A loader that reads in this process.

    Raises:
        RecipeError: its dataset cannot be built.
    """
    init_default_scope(task(cfg))
    settings = {**copy.deepcopy(cfg[name]), 'num_workers': 0, 'persistent_workers': False}
    settings.pop('prefetch_factor', None)  # torch refuses it without workers
    with _explained(name):
        return Runner.build_dataloader(settings, seed=0)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, RecipeError):
        raise
    except Exception as error:  # of any class in the config
        text = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise RecipeError(f'{what} cannot be built: {text[:1000]}') from error
