# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Dense one-stage detectors: predictions at every position of the maps, without proposals."""

from __future__ import annotations

from mmengine.config import Config

from ..errors import RecipeError
from ..walk import unimported_name
from .family import Family, Input, necks

BASES = {'SingleStageDetector', 'SingleStageInstanceSegmentor'}


class DenseOneStage(Family):
    """mmdet's ``SingleStageDetector``, its instance segmentors, any model with a ``bbox_head``."""

    name = 'dense one-stage detectors'
    members = 'RetinaNet, FCOS, ATSS, RTMDet, YOLOX'
    # YOLO's necks upsample a map by 2 and concatenate it with the next: sizes must match.
    size_multiple = 32

    def matches(self, bases: set[str], model: dict) -> bool:
        return bool(BASES & bases) or bool(model.get('bbox_head') or model.get('mask_head'))

    def inputs(self, model: dict, count: int) -> list[Input]:
        found = super().inputs(model, count)
        if found and unimported_name(found[0].node) == 'YOLOV3Neck':  # begins with the last map
            found = [found[0]._replace(maps=found[0].maps[::-1])]
        return found

    def shrink(self, cfg: Config, model: dict, channels: list[int]) -> None:
        if any(unimported_name(neck) == 'SSDNeck' for neck in necks(model)):
            raise RecipeError(
                '--toy cannot shrink SSDNeck: it halves maps until one position is left, which '
                'needs images of 300 pixels. Use RetinaNet or RTMDet instead'
            )
        super().shrink(cfg, model, channels)
