# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Query-based detectors: a transformer decoder turns learned queries into objects or segments."""

from __future__ import annotations

from mmengine.config import Config

from ..walk import dicts
from .family import Family, Input
from .shrink import LIMITS, shrink_sizes

BASES = {'DetectionTransformer', 'MaskFormer'}


class QueryBased(Family):
    """mmdet's ``DetectionTransformer`` and ``MaskFormer``, whose head takes the maps directly."""

    name = 'query-based detectors'
    members = 'DETR, Deformable DETR, DINO, Mask2Former'
    lr = 2e-4
    size_multiple = 32  # for batches padded to one size by BatchFixedSizePad

    def matches(self, bases: set[str], model: dict) -> bool:
        return bool(BASES & bases) or 'num_queries' in model or bool(model.get('panoptic_head'))

    def inputs(self, model: dict, count: int) -> list[Input]:
        head = model.get('panoptic_head')
        if model.get('neck') or not head:
            return super().inputs(model, count)
        maps = list(range(count))
        return [Input('panoptic_head', head, maps, maps)]

    def shrink(self, cfg: Config, model: dict, channels: list[int]) -> None:
        if model.get('panoptic_head'):
            super().shrink(cfg, model, channels)
        else:  # DETR: mmdet's coordinate_to_encoding, in DINO for example, assumes a width of 256
            shrink_sizes(model, width_keys=('feedforward_channels',))
            self.fit_inputs(model, channels)
        for _, node in dicts(model.get('test_cfg') or {}):
            for key in ('max_per_img', 'max_per_image'):  # at most queries times classes
                if key in node:
                    node[key] = min(node[key], LIMITS['num_queries'])
