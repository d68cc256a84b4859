# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""backbone.py: every other ConvNeXt becomes ours, with its own defaults kept."""

import pytest

from mmconvnext.migrate.backbone import peer_of, refuse_classifier, renew_backbones
from mmconvnext.migrate.notes import Notes
from mmconvnext.recipe.errors import RecipeError

OURS = 'mmconvnext.ConvNeXt'
DENSE = dict(gap_before_final_norm=False)


def renewed(node, **cfg):
    cfg = {**cfg, 'model': dict(type='A', backbone=dict(node))}
    notes = Notes()
    (one,) = renew_backbones(cfg, notes)
    assert one.path == 'model.backbone' and cfg['model']['backbone'] == one.after
    return one.after, notes


@pytest.mark.parametrize(
    ('node', 'peer'),
    [
        (dict(type='mmpretrain.ConvNeXt'), 'mmpretrain'),
        (dict(type='mmcls.ConvNeXt'), 'mmpretrain'),
        (dict(type='mmpretrain.models.backbones.convnext.ConvNeXt'), 'mmpretrain'),
        (dict(type='ConvNeXt', _scope_='mmcls'), 'mmpretrain'),
        (dict(type='ConvNeXt', use_grn=True), 'mmpretrain'),
        (dict(type='ConvNeXt', in_chans=3), 'meta'),
        (dict(type='ConvNeXt', dims=[1], depths=[1]), 'meta'),
        (dict(type='ConvNeXt', dims=[1]), 'meta'),
        (dict(type='ConvNeXt', depths=[1]), 'meta'),
        (dict(type='ConvNeXt', linear_pw_conv=False), 'mmpretrain'),
        (dict(type='mmpretrain.TIMMBackbone', model_name='convnext_tiny'), 'timm'),
        (dict(type='TIMMBackbone', model_name='timm/convnextv2_nano.fcmae'), 'timm'),
        (dict(type='TIMMBackbone', model_name='resnet50'), ''),
        (dict(type='mmconvnext.ConvNeXt'), ''),
        (dict(type='ConvNeXt', arch='tiny'), ''),  # the plain name is ours too
        (dict(type='ConvNeXt_MBFD', arch='tiny'), ''),
        (dict(), ''),
    ],
)
def test_whose_it_is(node, peer):
    assert peer_of(node, {}) == peer


def test_a_plain_name_is_read_by_the_age_and_the_imports_of_the_config():
    node = dict(type='ConvNeXt', arch='tiny')
    assert peer_of(node, dict(custom_imports=dict(imports='mmcls.models'))) == 'mmpretrain'
    assert peer_of(node, dict(optimizer={})) == 'mmpretrain'
    assert peer_of(dict(type='ConvNeXt', drop_path_rate=0.2), dict(optimizer={})) == 'meta'


def test_mmpretrain_defaults_are_written_out():
    after, _ = renewed(dict(type='mmpretrain.ConvNeXt', arch='small', **DENSE))
    assert after == dict(type=OURS, arch='small', out_indices=-1)


@pytest.mark.parametrize(('given', 'kept'), [(0, None), (1, 1), (2, 2)])
def test_mmpretrain_freezes_nothing_with_0(given, kept):
    after, _ = renewed(dict(type='mmpretrain.ConvNeXt', frozen_stages=given, **DENSE))
    assert after.get('frozen_stages') == kept


def test_grn_is_v2_and_keeps_its_layer_scale():
    v2 = dict(type='mmcls.ConvNeXt', arch='atto', use_grn=True, out_indices=[1, 2], **DENSE)
    after, _ = renewed({**v2, 'layer_scale_init_value': 0.0})
    expected = dict(type=OURS, arch='atto', version='v2', out_indices=[1, 2])
    assert after == {**expected, 'layer_scale_init_value': 0.0}
    after, _ = renewed(v2)
    assert after == {**expected, 'layer_scale_init_value': 1e-6}  # mmpretrain's default


def test_meta_says_its_size_in_numbers():
    node = dict(type='ConvNeXt', in_chans=3, depths=[3, 3, 27, 3], dims=[128, 256, 512, 1024])
    after, _ = renewed({**node, 'out_indices': [0, 1, 2, 3], 'layer_scale_init_value': 1.0})
    assert after == dict(type=OURS, arch='base', layer_scale_init_value=1.0)
    after, _ = renewed(dict(type='ConvNeXt', in_chans=4, depths=[1, 1], dims=[8, 16]))
    assert after == dict(type=OURS, arch=dict(depths=[1, 1], channels=[8, 16]), in_channels=4)


@pytest.mark.parametrize(
    ('changed', 'arch'),
    [
        ({}, 'small'),
        (dict(depths=(3, 3, 27, 3)), 'small'),
        (dict(dims=[96, 192, 384, 769]), dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 769])),
        (dict(depths=[3, 3, 3, 27]), dict(depths=[3, 3, 3, 27], channels=[96, 192, 384, 768])),
    ],
)
def test_only_the_exact_numbers_have_a_name(changed, arch):
    node = dict(type='ConvNeXt', in_chans=3, depths=[3, 3, 27, 3], dims=[96, 192, 384, 768])
    after, notes = renewed({**node, **changed})
    assert after == dict(type=OURS, arch=arch)
    assert notes.changed[-1].startswith(
        f"model.backbone: ConvNeXt became type='{OURS}', with arch="
    )
    assert notes.changed[-1].endswith(', without in_chans, depths, dims')


def test_maps_and_channels_that_are_the_default_are_not_written():
    for maps, kept in (
        ([0, 1, 2, 3], None),
        ((0, 1, 2, 3), None),
        ([1, 2, 3], [1, 2, 3]),
        ([3, 2, 1, 0], [3, 2, 1, 0]),
    ):
        after, _ = renewed(
            dict(type='mmpretrain.ConvNeXt', out_indices=maps, in_channels=3, **DENSE)
        )
        assert after.get('out_indices') == kept and 'in_channels' not in after
    after, _ = renewed(dict(type='mmpretrain.ConvNeXt', in_channels=4, **DENSE))
    assert after['in_channels'] == 4


def test_nothing_to_migrate_is_explained():
    for cfg, match in (
        (dict(backbone=dict(type=OURS)), 'nothing to migrate: the config already has our ConvNeXt'),
        (
            dict(backbone=dict(type='ResNet')),
            "the backbones are model.backbone='ResNet'; supported",
        ),
        (
            dict(neck=dict(type='FPN')),
            'no ConvNeXt to migrate: there is no backbone; supported are',
        ),
    ):
        with pytest.raises(RecipeError, match=match):
            renew_backbones(dict(model=cfg), Notes())


@pytest.mark.parametrize(
    ('cfg', 'refused'),
    [
        (dict(model=dict(type='ImageClassifier')), True),
        (dict(model=dict(type='mmpretrain.ImageClassifier')), True),
        (dict(model=dict(type='Other'), default_scope='mmcls'), True),
        (dict(model=dict(type='Other'), default_scope='mmpretrain'), True),
        (dict(model=dict(type='MaskRCNN'), default_scope='mmdet'), False),
        ({}, False),
    ],
)
def test_classifiers_are_refused_with_the_line_to_write(cfg, refused):
    if refused:
        with pytest.raises(RecipeError, match='out_indices=-1, gap_before_final_norm=True'):
            refuse_classifier(cfg)
    else:
        refuse_classifier(cfg)


def test_timm_wrapper():
    node = dict(model_name='convnextv2_nano.fcmae', features_only=True, drop_path_rate=0.1)
    after, notes = renewed({'type': 'mmpretrain.TIMMBackbone', **node})
    assert after == dict(type=OURS, arch='nano', version='v2', drop_path_rate=0.1)
    assert any('without norms' in line for line in notes.look)
    after, _ = renewed(dict(type='mmpretrain.TIMMBackbone', model_name='convnext_tiny'))
    assert after == dict(type=OURS, arch='tiny', out_indices=-1)  # its last map alone
    after, _ = renewed(dict(type='TIMMBackbone', model_name='convnext_base_in22k'))
    assert after['init_cfg']['checkpoint'] == 'timm/convnext_base.fb_in22k'  # mmseg's loads


def test_nested_ones_and_lists_are_found():
    foreign = dict(type='mmpretrain.ConvNeXt', **DENSE)
    cfg = dict(model=dict(teacher=[dict(backbone=dict(foreign))], student=dict(b=dict(foreign))))
    paths = [one.path for one in renew_backbones(cfg, Notes())]
    assert paths == ['model.teacher.0.backbone', 'model.student.b']
    assert cfg['model']['teacher'][0]['backbone']['type'] == OURS


def test_pooling_is_named_where_it_was_left_out():
    _, notes = renewed(dict(type='mmpretrain.ConvNeXt'))
    assert any('gap_before_final_norm is not set' in line for line in notes.look)
    after, notes = renewed(dict(type='mmpretrain.ConvNeXt', gap_before_final_norm=True))
    assert after['gap_before_final_norm'] is True  # asked for
    assert not any('gap_before_final_norm' in line for line in notes.look)


@pytest.mark.parametrize(
    ('node', 'match'),
    [
        (
            dict(type='mmpretrain.ConvNeXt', norm_cfg=dict(type='GN'), **DENSE),
            '(?s)model.backbone: .*GN',
        ),
        (dict(type='mmpretrain.ConvNeXt', no_such=1, **DENSE), '(?s)model.backbone: .*no_such'),
        (
            dict(type='TIMMBackbone', model_name='convnext_zepto_rms'),
            'this package cannot build model_name=',
        ),
        (dict(type='ConvNeXt_MBFD'), "model.backbone='ConvNeXt_MBFD'; supported are"),
    ],
)
def test_what_cannot_be_taken_is_refused(node, match):
    with pytest.raises(RecipeError, match=match):
        renewed(node)
