# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Would BN be given a single value for each channel? Asked of the segmentor itself.

Where a head pools a map to 1x1, as the pyramids of UPerNet, PSPNet and ASPP do, a batch of one
image leaves BN nothing to normalise, and torch raises at the first step.
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

from ..walk import task
from .finding import Finding

CROP = (512, 512)  # where the config has no crop; our choice


def check_batch_norm(cfg: Config) -> Iterator[Finding]:
    """No head normalises single values where a process trains on one image at a time.

    The segmentor is built and run without memory, on torch's meta device; a head that does not run
    there is left alone.
    """
    loader = cfg.get('train_dataloader') or {}
    if task(cfg) != 'mmseg' or loader.get('batch_size') != 1:
        return
    with torch.random.fork_rng(devices=[]):  # a run with a fixed seed stays what it was
        names = _single_values(cfg)
    heads = {name.partition('.')[0]: name for name in reversed(names)}
    for head, name in heads.items():
        node = cfg.model[head]
        first = node[0] if isinstance(node, (list, tuple)) else node
        groups = gcd(32, first.get('channels', 32))
        yield Finding(
            f'train_dataloader.batch_size=1, but model.{name} normalises a map that is pooled to '
            'one value for each channel, which BN cannot ("Expected more than 1 value per '
            'channel"); set train_dataloader.batch_size=2, or '
            f"model.{head}.norm_cfg=dict(type='GN', num_groups={groups})",
            'batch_norm',
        )


def _single_values(cfg: Config) -> list[str]:
    """The BN layers of heads that get one value for each channel from one image."""
    try:
        with torch.device('meta'), MODELS.switch_scope_and_registry(task(cfg)) as registry:
            model: nn.Module = registry.build(copy.deepcopy(cfg.model))
    except Exception:  # what cannot be built is told by the run itself
        return []
    shared = set()  # layers whose batch is that of all processes
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
    with suppress(Exception):  # BN itself, or a part that takes other inputs
        maps = model.extract_feat(torch.zeros(1, channels, *size, device='meta'))
        for head in _heads(model, 'auxiliary_head'):
            with suppress(Exception):
                head(maps)
        before: tuple = ()
        for head in _heads(model, 'decode_head'):  # in a cascade each gets what the last returned
            before = (head(maps, *before),)
    return found


def _heads(model: nn.Module, name: str) -> list[nn.Module]:
    head = getattr(model, name, None)
    return list(head) if isinstance(head, nn.ModuleList) else [head] if head else []
