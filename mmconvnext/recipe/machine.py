# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fit a recipe for 8 GPUs to this machine, and explain what that changes."""

from __future__ import annotations

import torch
from mmengine.config import Config

from .errors import RecipeError
from .walk import dicts, type_name

# The names in mmcv's registry; the last one is also the name of the classes.
SYNC_BN = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')


def fit_to_machine(cfg: Config, world_size: int = 1) -> list[str]:
    """Change ``cfg`` in place so that it runs here; return lines that explain the consequences.

    - Without a GPU, mixed precision becomes float32: mmengine's AMP wrapper refuses a CPU, and
      float32 is fastest on most CPUs.
    - mmengine turns SyncBN into BN in a single process; the line gives its batch size.
    - If the total batch size differs from the recipe's, so should the learning rate.

    Raises:
        RecipeError: the batch size is no whole number of 1 or more.
    """
    lines = []
    wrapper = cfg.get('optim_wrapper') or {}
    if type_name(wrapper) == 'AmpOptimWrapper' and not torch.cuda.is_available():
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)
        wrapper.type = 'OptimWrapper'
        lines.append('No GPU: mixed precision is off, training runs in float32.')
    loader = cfg.get('train_dataloader')
    if loader is None or 'batch_size' not in loader:  # a batch sampler may have one
        return lines
    if type(loader.batch_size) is not int or loader.batch_size < 1:
        raise RecipeError(
            f'train_dataloader.batch_size={loader.batch_size!r}: choose a whole number of 1 or more'
        )
    if world_size == 1 and any(type_name(node) in SYNC_BN for _, node in dicts(cfg.model)):
        lines.append(
            f'One process: SyncBN becomes BN over a batch of {loader.batch_size} images, where '
            'the recipe uses those of all GPUs; expect a lower result, or use a larger batch, '
            "or set norm_cfg=dict(type='GN', num_groups=32) in the heads."
        )
    lines.extend(_batch_size(cfg, loader.batch_size * world_size))
    return lines


def _batch_size(cfg: Config, images: int) -> list[str]:
    recipe = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    scaled = recipe and cfg.auto_scale_lr.get('enable')
    if not recipe or (images * steps == recipe and not (scaled and steps > 1)):
        return []
    head = f'Effective batch size {images * steps}, but the recipe has {recipe}: '
    if scaled:
        line = f'learning rates are scaled by {images / recipe:g}.'
        if steps > 1:
            line += f' mmengine leaves the {steps} accumulation steps out of this factor.'
        return [head + line]
    ways = f'--auto-scale-lr (learning rates x {images / recipe:g})'
    if images == recipe:
        ways = '--cfg-options optim_wrapper.accumulative_counts=1'
    elif recipe % images == 0:
        ways += f' or --cfg-options optim_wrapper.accumulative_counts={recipe // images}'
    return [f'{head}learning rates are NOT scaled; use {ways}.']
