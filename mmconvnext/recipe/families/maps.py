# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The feature maps that the backbone of a config returns, and the model that takes them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from ..errors import RecipeError
from ..walk import backbones, registered


@dataclass(frozen=True)
class Maps:
    """The maps that one backbone returns, in its order."""

    path: str  # of the backbone: 'model.backbone', 'model.detector.backbone'
    model: dict  # the detector or segmentor that holds the backbone, perhaps inside another model
    widths: tuple[int, ...]  # channels of all stages, returned or not
    stages: list[int]  # the stage of each map
    frozen_stages: int

    @property
    def model_path(self) -> str:
        return self.path.rpartition('.')[0]

    @property
    def channels(self) -> list[int]:
        """Channels of each map."""
        return [self.widths[stage] for stage in self.stages]


def backbone_maps(cfg: Config) -> Iterator[Maps]:
    """The maps of every ConvNeXt of this package in the model.

    Raises:
        RecipeError: the backbone cannot be built, for example because ``arch`` is unknown.
    """
    for path, backbone in backbones(cfg):
        built = build_backbone(cfg, path, backbone)
        model = cfg.model
        for key in path.split('.')[1:-1]:
            model = model[int(key) if isinstance(model, (list, tuple)) else key]
        yield Maps(path, model, built.arch.channels, list(built.out_indices), built.frozen_stages)


def build_backbone(cfg: Config, path: str, backbone: dict) -> nn.Module:
    """Build on the meta device, to read arguments in any package's spelling without memory.

    Raises:
        RecipeError: it cannot be built.
    """
    kind = registered(cfg, MODELS, backbone)
    arguments = {key: value for key, value in backbone.items() if key not in ('type', '_scope_')}
    try:
        with torch.random.fork_rng(devices=[]), torch.device('meta'):
            return kind(**copy.deepcopy(arguments))
    except (TypeError, ValueError) as error:
        raise RecipeError(f'{path}: {error}') from error
