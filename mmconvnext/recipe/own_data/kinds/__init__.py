# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The kinds of data that ``own_data`` supports: one file each, and a line in KINDS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmengine.config import Config, ConfigDict

from ...errors import RecipeError
from ...walk import task
from .instances import Instances
from .kind import DataKind
from .label_maps import LabelMaps
from .panoptic import Panoptic

if TYPE_CHECKING:
    from ...checks.finding import Finding

# The first that fits a recipe is its kind.
KINDS = (
    Panoptic(),
    Instances(),
    LabelMaps(),
)


def nearest_kind(cfg: Config | ConfigDict) -> DataKind:
    """The kind whose files a recipe reads, even if it also reads others, as HTC does.

    Raises:
        RecipeError: the recipe belongs to neither mmdet nor mmseg.
    """
    scope = task(cfg)
    return next(kind for kind in KINDS if kind.scope == scope and kind.fits(cfg))


def kind_of(cfg: Config | ConfigDict) -> DataKind:
    """The kind of data that a recipe trains on, whether or not it has ``own_data``.

    Raises:
        RecipeError: the recipe needs data that no kind provides.
    """
    kind = nearest_kind(cfg)
    lacks = kind.lacks(cfg)
    if lacks:
        raise RecipeError(
            f'own_data provides {kind.holds}, but this recipe loads {lacks}; use a recipe that '
            'does not, or set its datasets yourself'
        )
    return kind


def check_data(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """What is wrong with the files that ``loaders`` read, as far as a kind can tell."""
    yield from nearest_kind(cfg).checks(cfg, loaders)
