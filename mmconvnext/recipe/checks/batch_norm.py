# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks that batch norm is not given a single value for each channel.

A head that pools a map to 1x1, as the pyramids of UPerNet, PSPNet and ASPP do, leaves batch norm
nothing to normalise in a batch of one image: torch raises at the first step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from math import gcd

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..families import Family, find_family
from ..walk import task
from .finding import Finding

CROP = (512, 512)  # pixels, if the config has no crop; our choice


def check_batch_norm(cfg: Config) -> Iterator[Finding]:
    """Check that no head normalises single values if a process trains on one image at a time.

    The model is built and run on torch's meta device, which takes no memory; a head that does not
    run there is not checked.
    """
    loader = cfg.get('train_dataloader') or {}
    family = find_family(cfg, cfg.model) if loader.get('batch_size') == 1 else None
    if family is None or not family.pools_to_single_values:
        return
    with torch.random.fork_rng(devices=[]):  # a run with a fixed seed stays the same
        names = _single_values(cfg, family)
    heads = {name.partition('.')[0]: name for name in reversed(names)}
    for head, name in heads.items():
        node = cfg.model[head]
        first = node[0] if isinstance(node, (list, tuple)) else node
        groups = gcd(32, first.get('channels', 32))
        yield Finding(
            f'train_dataloader.batch_size=1, but model.{name} applies batch norm to a map '
            'pooled to one value per channel, which fails ("Expected more than 1 value per '
            'channel"). '
            'Set train_dataloader.batch_size=2, or '
            f"model.{head}.norm_cfg=dict(type='GN', num_groups={groups})",
            'batch_norm',
        )


def _single_values(cfg: Config, family: Family) -> list[str]:
    """Names of the batch norms in heads that see a single value per channel for one image."""
    try:
        with torch.device('meta'), MODELS.switch_scope_and_registry(task(cfg)) as registry:
            model: nn.Module = registry.build(copy.deepcopy(cfg.model))
    except Exception:  # the run itself will report it
        return []
    shared = set()  # layers that normalise over the batches of all processes
    if cfg.get('launcher', 'none') != 'none':
        shared = {name for name, m in model.named_modules() if isinstance(m, nn.SyncBatchNorm)}
    model = revert_sync_batchnorm(model).train()
    found = []

    def note(name: str, module: nn.Module, inputs: tuple) -> None:
        if module.training and inputs[0].numel() == inputs[0].shape[1] and name not in shared:
            found.append(name)

    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(lambda m, x, name=name: note(name, m, x))
    size = (cfg.model.get('data_preprocessor') or {}).get('size') or CROP
    channels = getattr(model.backbone, 'in_channels', 3)
    with suppress(Exception):  # batch norm itself, or a head that takes other inputs
        maps = model.extract_feat(torch.zeros(1, channels, *size, device='meta'))
        family.run_heads(model, maps)
    return found
