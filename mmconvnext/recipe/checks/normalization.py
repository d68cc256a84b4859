# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Do mean, std and the order of the channels suit each other and pretrained weights?"""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config

from ..own_data.loading import IMAGE_LOADERS
from ..walk import backbones, pipelines, type_name
from .finding import Finding
from .loading import preprocessors

# ImageNet's, of values 0 to 255, in RGB order: 255 times the values of torchvision.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NEAR = 2.0  # how far rounded or similar means (Caffe's, Pascal's) are from ImageNet's; our choice


def check_normalization(cfg: Config) -> Iterator[Finding]:
    """Check that std can divide, and that the channels are in the order of means and weights."""
    for path, node in preprocessors(cfg):
        mean, std = list(node['mean']), list(node.get('std') or ())
        if any(not value > 0 for value in std):
            yield Finding(
                f'{path}.std={std} divides by {min(std):g}; every std must be above 0 (ImageNet: '
                f'{list(STD)}, or 1 to leave the values as they are)',
                'normalization',
            )
        if len(mean) != 3 or _loads_otherwise(cfg):
            continue
        rgb = bool(node.get('bgr_to_rgb')) and not node.get('rgb_to_bgr')
        if _near(mean, MEAN if not rgb else MEAN[::-1]):
            found, order = ('RGB', 'BGR') if rgb else ('BGR', 'RGB')
            yield Finding(
                f"{path}: mean={mean} are ImageNet's in the order {order}, but with bgr_to_rgb="
                f'{rgb} the channels are {found}; set {_lines()}'
            )
        elif not rgb and _pretrained(cfg):
            yield Finding(
                f'{path}.bgr_to_rgb=False gives the backbone BGR images, but published ConvNeXt '
                f'weights ({_pretrained(cfg)}) were trained on RGB; set {_lines()}'
            )


def _lines() -> str:
    return f'bgr_to_rgb=True, mean={list(MEAN)}, std={list(STD)}'


def _near(mean: list, other: tuple) -> bool:
    return all(abs(a - b) < NEAR for a, b in zip(mean, other))


def _loads_otherwise(cfg: Config) -> bool:
    """Whether a transform, such as Normalize, or another loader may change the order itself."""
    kinds = [type_name(node) for node in pipelines(cfg)]
    return 'Normalize' in kinds or not set(kinds) & set(IMAGE_LOADERS)


def _pretrained(cfg: Config) -> str:
    """The weights that a backbone starts from; '' if a checkpoint replaces them, or at random."""
    if cfg.get('load_from') or cfg.get('resume'):
        return ''
    for _, backbone in backbones(cfg):
        init = backbone.get('init_cfg') or {}
        init = init[0] if isinstance(init, (list, tuple)) and init else init
        if type_name(init) == 'Pretrained' and init.get('checkpoint'):
            return str(init['checkpoint'])
    return ''
