# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""backbone.py: every other ConvNeXt becomes ours, with its own defaults kept."""

import pytest

from mmconvnext.migrate.backbone import OURS, peer_of, renew_backbones
from mmconvnext.migrate.notes import Notes
from mmconvnext.recipe.errors import RecipeError

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
