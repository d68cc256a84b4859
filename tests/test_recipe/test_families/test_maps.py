# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families/maps.py: the maps of each backbone, and the model that takes them."""

import pytest
import torch
from fixtures import MASK_RCNN

from mmconvnext.models import ConvNeXt
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.families.maps import backbone_maps


def test_maps_of_a_detector(load):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.update(_scope_='mmconvnext', out_indices=(1, -1), frozen_stages=1)
    (maps,) = backbone_maps(cfg)
    assert (maps.path, maps.model_path, maps.model) == ('model.backbone', 'model', cfg.model)
    assert (maps.stages, maps.channels, maps.frozen_stages) == ([1, 3], [192, 768], 1)
    assert tuple(maps.widths) == (96, 192, 384, 768)


def test_maps_of_a_wrapped_detector(load):
    cfg = load(MASK_RCNN)
    cfg.model = dict(type='SoftTeacher', parts=[dict(detector=cfg.model)])
    (maps,) = backbone_maps(cfg)
    assert maps.model_path == 'model.parts.0.detector'
    assert maps.model is cfg.model.parts[0].detector


def test_a_backbone_that_cannot_be_built_is_named(load):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.arch = 'tinny'
    with pytest.raises(RecipeError, match=r"^model\.backbone: arch='tinny' is unknown"):
        list(backbone_maps(cfg))


class Careless(ConvNeXt):
    """A user's subclass that changes its arguments and draws random numbers."""

    def __init__(self, notes, **kwargs):
        notes.clear()
        torch.rand(1, device='cpu')
        super().__init__(**kwargs)


def test_building_leaves_the_random_numbers_and_the_config_as_they_are(load):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.update(type=Careless, notes=dict(a=1))
    state = torch.get_rng_state()
    assert len(list(backbone_maps(cfg))) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert cfg.model.backbone.notes == dict(a=1)
