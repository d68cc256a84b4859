# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""weights.py: the source of the weights is carried over, whichever way it was given."""

import pytest

from mmconvnext.checkpoint import zoo
from mmconvnext.migrate.notes import Notes
from mmconvnext.migrate.weights import TIMM_OLD, TIMM_TAGS, renewed_weights, timm_weights
from mmconvnext.recipe.errors import RecipeError

LOADED = dict(type='Pretrained', checkpoint='a.pth')


def test_the_prefix_of_classifiers_is_found_by_itself():
    for prefix in ('backbone.', 'backbone'):
        node = dict(init_cfg={**LOADED, 'prefix': prefix})
        assert renewed_weights(node, {}, Notes(), 'b') == LOADED
    node = dict(init_cfg={**LOADED, 'prefix': 'teacher.'})
    assert renewed_weights(node, {}, Notes(), 'b') == {**LOADED, 'prefix': 'teacher.'}


def test_random_initializers_go_and_are_named():
    notes = Notes()
    node = dict(init_cfg=[dict(type='TruncNormal', layer='Conv2d', std=0.02), LOADED])
    assert renewed_weights(node, {}, notes, 'b') == LOADED
    assert "init_cfg of type 'TruncNormal' removed" in notes.changed[0]


def test_pretrained_of_backbone_and_model():
    assert renewed_weights(dict(pretrained='a.pth'), {}, Notes(), 'b') == LOADED
    model = dict(pretrained='a.pth')
    assert renewed_weights({}, model, Notes(), 'b') == LOADED and model == dict(pretrained=None)
    for other in ('open-mmlab://resnet50_v1c', 'open-mmlab://msra/hrnetv2_w18', 'resnet50.pth'):
        model, notes = dict(pretrained=other), Notes()
        assert renewed_weights(dict(init_cfg=LOADED), model, notes, 'b') == LOADED
        assert model == dict(pretrained=None) and 'another network' in notes.changed[0]


def test_no_weights_are_named():
    notes = Notes()
    assert renewed_weights({}, {}, notes, 'b') is None
    assert 'starts from random ones' in notes.look[0]


@pytest.mark.parametrize('name', TIMM_TAGS)
def test_a_name_without_tag_means_published_weights(name):
    notes = Notes()
    init_cfg = timm_weights(dict(type='x', model_name=name, pretrained=True), notes, 'b')
    assert zoo.find(init_cfg['checkpoint']) and name in notes.look[0]


@pytest.mark.parametrize('ending', TIMM_OLD)
def test_old_names_of_timm(ending):
    node = dict(type='TIMMBackbone', model_name=f'convnext_large{ending}')
    assert zoo.find(timm_weights(node, Notes(), 'b')['checkpoint']).arch == 'large'


def test_timm_loads_by_default_in_mmseg_alone():
    node = dict(model_name='convnext_tiny.fb_in1k')
    assert timm_weights({'type': 'mmpretrain.TIMMBackbone', **node}, Notes(), 'b') is None
    assert timm_weights({'type': 'TIMMBackbone', **node}, Notes(), 'b') == dict(
        type='Pretrained', checkpoint='timm/convnext_tiny.fb_in1k'
    )
    own = dict(type='mmpretrain.TIMMBackbone', checkpoint_path='a.pth', **node)
    assert timm_weights(own, Notes(), 'b') == LOADED


def test_unpublished_weights_are_refused():
    node = dict(type='TIMMBackbone', model_name='convnext_tiny.none')
    with pytest.raises(RecipeError, match="no published weights .*'timm/convnext_tiny.none'"):
        timm_weights(node, Notes(), 'b')
