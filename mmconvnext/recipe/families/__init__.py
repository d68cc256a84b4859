# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Model families: what ``--toy``, own data and the checks know about a kind of model.

One file for each family, one line in ``FAMILIES``; ``docs/recipes.md`` says how to add one.
"""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import MODELS

from ..errors import RecipeError
from ..walk import registered, type_of
from .dense_one_stage import DenseOneStage
from .encoder_decoder import EncoderDecoder
from .family import Family, Input
from .maps import Maps, backbone_maps, build_backbone
from .query_based import QueryBased
from .two_stage import TwoStage

__all__ = ['FAMILIES', 'Family', 'Input', 'Maps', 'backbone_maps', 'family_of', 'find_family']
__all__ += ['build_backbone', 'has_own_classes']

# The first match wins: mmdet's MaskFormer is a SingleStageDetector too.
FAMILIES: tuple[Family, ...] = (
    TwoStage(),
    QueryBased(),
    DenseOneStage(),
    EncoderDecoder(),
)
# Parts of models that read text as well: GLIP, Grounding DINO, SAN.
TEXT = {'language_model', 'text_encoder'}


def family_of(cfg: Config) -> Family:
    """The family of the model that holds the backbone, inside a wrapper or not.

    Raises:
        RecipeError: the model has no ConvNeXt of this package, or belongs to no family.
    """
    found = next(backbone_maps(cfg), None)
    if found is None:
        raise RecipeError(
            'the model has no ConvNeXt of this package. Write '
            "model=dict(backbone=dict(_delete_=True, type='mmconvnext.ConvNeXt', arch='tiny'))"
        )
    family = find_family(cfg, found.model)
    if family is None:
        known = ''.join(f'\n  {family.name} ({family.members}, ...)' for family in FAMILIES)
        raise RecipeError(
            f'{found.model_path}.type={type_of(found.model)!r} belongs to no model family '
            f'that --toy can shrink:{known}\n'
            'Try the recipe on a small data set of your own, with own_data, or add the family: '
            'docs/recipes.md'
        )
    return family


def find_family(cfg: Config, model: dict) -> Family | None:
    """The family of ``model``, the config of a detector or segmentor; None if it has none."""
    if TEXT & {*model}:
        return None
    kind = registered(cfg, MODELS, model)
    bases = {base.__name__ for base in kind.__mro__} if kind else set()
    return next((family for family in FAMILIES if family.matches(bases, model)), None)


def has_own_classes(path: str, node: dict) -> bool:
    """Whether the part ``node`` at ``path`` predicts other classes than the data has."""
    tracked = 'reid' in path.split('.')  # persons, beside a tracker's detector
    return tracked or any(family.has_own_classes(path, node) for family in FAMILIES)
