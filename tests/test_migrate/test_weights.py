# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""weights.py: the source of the weights is carried over, whichever way it was given."""

import pytest

from mmconvnext.checkpoint import zoo
from mmconvnext.migrate.notes import Notes
from mmconvnext.migrate.weights import of_mmseg, renewed_weights, timm_weights
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
    (line,) = notes.changed
    assert line.startswith("b: init_cfg of type 'TruncNormal' removed: the default init")
    assert not notes.look


def test_pretrained_of_backbone_and_model():
    assert renewed_weights(dict(pretrained='a.pth'), {}, Notes(), 'b') == LOADED
    model = dict(pretrained='a.pth')
    notes = Notes()
    assert renewed_weights({}, model, notes, 'b') == LOADED and model == dict(pretrained=None)
    assert notes.changed == ["b: pretrained='a.pth' became init_cfg"] and not notes.look
    # The model around it comes last, as in mmdet, and a list has no weights.
    own, model = dict(pretrained='own.pth'), dict(pretrained='a.pth')
    assert renewed_weights(own, model, Notes(), 'b') == LOADED
    assert renewed_weights(own, [own], Notes(), 'b')['checkpoint'] == 'own.pth'
    scoped = dict(init_cfg={**LOADED, '_scope_': 'mmdet'})
    assert renewed_weights(scoped, {}, Notes(), 'b') == LOADED
    for other in ('open-mmlab://resnet50_v1c', 'open-mmlab://msra/hrnetv2_w18', 'resnet50.pth'):
        model, notes = dict(pretrained=other), Notes()
        assert renewed_weights(dict(init_cfg=LOADED), model, notes, 'b') == LOADED
        assert model == dict(pretrained=None) and 'another network' in notes.changed[0]


def test_no_weights_are_named():
    notes = Notes()
    assert renewed_weights({}, {}, notes, 'b') is None
    assert 'starts from random ones' in notes.look[0]


# The first row of each model in ``default_cfgs`` of timm 1.0.31, models/convnext.py.
FIRST = {
    'convnext_atto': 'd2_in1k',
    'convnext_femto convnext_pico': 'd1_in1k',
    'convnext_nano convnext_tiny convnext_small': 'in12k_ft_in1k',
    'convnext_base convnext_large convnext_xlarge': 'fb_in22k_ft_in1k',
    'convnext_large_mlp': 'clip_laion2b_soup_ft_in12k_in1k_320',
    'convnextv2_atto convnextv2_femto convnextv2_pico': 'fcmae_ft_in1k',
    'convnextv2_nano convnextv2_tiny convnextv2_base convnextv2_large': 'fcmae_ft_in22k_in1k',
    'convnextv2_huge': 'fcmae_ft_in22k_in1k_384',
}


@pytest.mark.parametrize(
    ('name', 'tag'), [(name, tag) for names, tag in FIRST.items() for name in names.split()]
)
def test_a_name_without_tag_means_published_weights(name, tag):
    for given in (name, f'timm/{name}'):
        notes = Notes()
        init_cfg = timm_weights(dict(type='x', model_name=given, pretrained=True), notes, 'b')
        assert init_cfg == dict(type='Pretrained', checkpoint=f'timm/{name}.{tag}')
        assert zoo.find(init_cfg['checkpoint'])
        assert notes.look == [
            f'b: {name} without a tag means timm/{name}.{tag} in timm 1.0; timm before 0.9 loaded '
            f'timm/{name}.fb_in1k, or the only tag there was'
        ]


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('convnext_large_in22k', 'convnext_large.fb_in22k'),
        ('convnext_large_in22ft1k', 'convnext_large.fb_in22k_ft_in1k'),
        ('convnext_large_384_in22ft1k', 'convnext_large.fb_in22k_ft_in1k_384'),
        ('convnext_base.fb_in1k', 'convnext_base.fb_in1k'),
    ],
)
def test_old_names_and_tags_of_timm(old, new):
    notes = Notes()
    found = timm_weights(dict(type='TIMMBackbone', model_name=old), notes, 'b')
    assert found == dict(type='Pretrained', checkpoint=f'timm/{new}') and not notes.look
    off = dict(type='TIMMBackbone', model_name=old, pretrained=False)
    assert timm_weights(off, notes, 'b') is None
    assert zoo.find(f'timm/{new}')


def test_timm_loads_by_default_in_mmseg_alone():
    node = dict(model_name='convnext_tiny.fb_in1k')
    assert timm_weights({'type': 'mmpretrain.TIMMBackbone', **node}, Notes(), 'b') is None
    assert timm_weights({'type': 'TIMMBackbone', **node}, Notes(), 'b') == dict(
        type='Pretrained', checkpoint='timm/convnext_tiny.fb_in1k'
    )
    own = dict(type='mmpretrain.TIMMBackbone', checkpoint_path='a.pth', **node)
    assert timm_weights(own, Notes(), 'b') == LOADED


@pytest.mark.parametrize(
    ('node', 'mmsegs'),
    [
        (dict(type='TIMMBackbone'), True),
        (dict(type='mmseg.TIMMBackbone'), True),
        (dict(type='mmpretrain.TIMMBackbone'), False),
        (dict(type='mmcls.TIMMBackbone'), False),
        (dict(type='TIMMBackbone', _scope_='mmcls'), False),
        (dict(type='TIMMBackbone', _scope_='mmpretrain'), False),
        (dict(type='mmpretrain.TIMMBackbone', _scope_='mmseg'), True),
    ],
)
def test_whose_wrapper_of_timm_it_is(node, mmsegs):
    assert of_mmseg(node) is mmsegs


def test_unpublished_weights_are_refused():
    node = dict(type='TIMMBackbone', model_name='convnext_tiny.none')
    with pytest.raises(RecipeError, match="no published weights .*'timm/convnext_tiny.none'"):
        timm_weights(node, Notes(), 'b')
