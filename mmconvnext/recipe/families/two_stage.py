# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Two-stage detectors: proposals, then heads on regions of interest (RoIs)."""

from __future__ import annotations

from mmengine.config import Config

from ..walk import dicts
from .family import Family
from .shrink import add_norm

# Our choice, for speed.
ROIS, PROPOSALS = 64, 200  # sampled RoIs, of 512; proposals, of 1000 or 2000
MASK_CONVS = 2  # of 4


class TwoStage(Family):
    """mmdet's ``TwoStageDetector`` and any other model with a ``roi_head``."""

    name = 'two-stage detectors'
    members = 'Faster, Mask, Cascade and Sparse R-CNN'

    def matches(self, bases: set[str], model: dict) -> bool:
        return 'TwoStageDetector' in bases or bool(model.get('roi_head'))

    def shrink(self, cfg: Config, model: dict, channels: list[int]) -> None:
        super().shrink(cfg, model, channels)
        for path, node in dicts(model):
            if 'rcnn' in path and 'num' in (node.get('sampler') or {}):
                node['sampler']['num'] = ROIS
            for key in ('nms_pre', 'max_per_img'):
                if 'rpn' in path and key in node:
                    node[key] = PROPOSALS
        masks = (model.get('roi_head') or {}).get('mask_head') or []
        for node in masks if isinstance(masks, (list, tuple)) else [masks]:
            add_norm(cfg, node)
            if 'num_convs' in node:
                node['num_convs'] = min(node['num_convs'], MASK_CONVS)

    def has_own_classes(self, path: str, node: dict) -> bool:
        parts = path.split('.')
        # HTC, SCNet: the 183 of COCO-Stuff; a panoptic model's head predicts those of the data.
        semantic = 'semantic_head' in parts and 'num_things_classes' not in node
        return semantic or ('rpn' in path and node.get('num_classes') == 1)  # object or not
