# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is wrong with a config that divides the model or the optimizer among the processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.optim import ZeroRedundancyOptimizer

from ..recipe.errors import RecipeError
from ..recipe.walk import registered, type_name
from .sharded import FullyShardedModel

OURS = "model_wrapper_cfg=dict(type='mmconvnext.FullyShardedModel')"


def check_wrapper(cfg: Config) -> None:
    """Refuse FSDP1, with which mmengine's Runner can neither begin nor save.

    Raises:
        RecipeError: ``model_wrapper_cfg`` names it.
    """
    if issubclass(_wrapper(cfg), FullyShardedDataParallel):
        raise RecipeError(
            f'model_wrapper_cfg.type={type_name(cfg.model_wrapper_cfg)!r} is FSDP1: the Runner '
            'would initialize flat shards instead of weights, and save those of rank 0 alone; '
            f'write {OURS}, or leave model_wrapper_cfg out'
        )


def check_training(cfg: Config, processes: int) -> None:
    """Refuse a ZeroRedundancyOptimizer that cannot work.

    Raises:
        RecipeError: it is to be divided among one process, twice, or is none of torch's.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    # Of several optimizers each has a wrapper of its own.
    parts = [wrapper, *(part for part in wrapper.values() if isinstance(part, Mapping))]
    sharded = issubclass(_wrapper(cfg), FullyShardedModel) and processes > 1
    for node in [part['optimizer'] for part in parts if isinstance(part.get('optimizer'), Mapping)]:
        kind = registered(cfg, OPTIMIZERS, node)
        if kind is not None and issubclass(kind, ZeroRedundancyOptimizer):
            _check_optimizer(node, processes, sharded)


def _check_optimizer(node: Mapping, processes: int, sharded: bool) -> None:
    name, inner = type_name(node), node.get('optimizer_type')
    known = getattr(torch.optim, inner, None) if isinstance(inner, str) else None
    if not isinstance(known, type) or not issubclass(known, torch.optim.Optimizer):
        raise RecipeError(
            f"optim_wrapper.optimizer: {name} with optimizer_type={inner!r}; choose one of torch's "
            "optimizers, such as optimizer_type='AdamW'"
        )
    if node.get('overlap_with_ddp'):
        raise RecipeError(
            f'optim_wrapper.optimizer.overlap_with_ddp=True: {name} would step in the backward '
            'pass, before the gradients are clipped, and mmengine does not support it; remove it'
        )
    if sharded:
        raise RecipeError(
            f'optim_wrapper.optimizer: {name} divides the state of an optimizer that '
            f'FullyShardedModel has divided already; write type={inner!r} without optimizer_type'
        )
    if processes == 1:
        raise RecipeError(
            f'optim_wrapper.optimizer: {name} divides its state among processes, but this is the '
            f'only one; start several with tools/dist_train.sh, or write type={inner!r} without '
            'optimizer_type'
        )


def _wrapper(cfg: Config) -> type:
    node = cfg.get('model_wrapper_cfg')
    return node and registered(cfg, MODEL_WRAPPERS, node) or object
