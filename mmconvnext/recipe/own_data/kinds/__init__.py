# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The kinds of data that ``own_data`` knows: one file each, and a line in KINDS."""

from __future__ import annotations

from mmengine.config import Config, ConfigDict

from ...errors import RecipeError
from ..names import scope_of
from .instances import Instances
from .kind import DataKind, loads
from .label_maps import LabelMaps

# The first that fits a recipe is its kind.
KINDS = (
    Instances(),
    LabelMaps(),
)


def nearest_kind(cfg: Config | ConfigDict) -> DataKind:
    """The kind whose files a recipe reads, even if it reads others beside them, as HTC does.

    Raises:
        RecipeError: the recipe is of another project than mmdet and mmseg.
    """
    scope = scope_of(cfg)
    return next(kind for kind in KINDS if kind.scope == scope and kind.fits(cfg))


def kind_of(cfg: Config | ConfigDict) -> DataKind:
    """The kind of data that a recipe trains on, whether or not it has ``own_data``.

    Raises:
        RecipeError: the recipe needs data that no kind holds.
    """
    if scope_of(cfg) == 'mmdet' and loads(cfg, 'with_seg'):
        raise RecipeError(
            'own_data has boxes and masks of instances, but this recipe trains on label maps too '
            '(panoptic segmentation, or HTC with its semantic head); take a recipe for instances, '
            'as mask2former_r50_8xb2-lsj-50e_coco.py, or set its datasets yourself'
        )
    return nearest_kind(cfg)
