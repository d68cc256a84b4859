# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families/shrink.py: one table of widths, limits of numbers, norms for those without."""

import pytest
from mmengine.config import Config, ConfigDict

from mmconvnext.recipe.families.shrink import add_norm, shrink_sizes

NORM = dict(type='GN', num_groups=16)


def test_widths_follow_one_table_wherever_they_are():
    model = dict(
        backbone=dict(embed_dims=256),
        teacher_neck=dict(out_channels=256),
        neck=dict(out_channels=256, in_channels=[96, 512, 1024]),
        head=dict(in_channels=256, layers=[dict(feat_channels=(256, 96))], strides=[256]),
        positional_encoding=dict(num_feats=128),
    )
    shrink_sizes(model)
    assert model['backbone'] == dict(embed_dims=256)
    assert model['teacher_neck'] == dict(out_channels=256)
    assert model['neck'] == dict(out_channels=64, in_channels=[96, 64, 128])
    expected = dict(in_channels=64, layers=[dict(feat_channels=(64, 96))], strides=[256])
    assert model['head'] == expected
    assert model['positional_encoding'] == dict(num_feats=32)  # half of 64


WIDTHS = ['in_channels', 'out_channels', 'feat_channels', 'conv_out_channels', 'fc_out_channels']
WIDTHS += ['channels', 'embed_dims', 'feedforward_channels', 'proposal_feature_channel']


@pytest.mark.parametrize('key', [*WIDTHS, 'out_conv_channels'])
def test_every_name_of_a_width_is_known(key):
    given, expected = [96, 256, 512, 1024, 2048, 4096, 0.5], [96, 64, 64, 128, 128, 4096, 0.5]
    model = dict(part={key: given}, backbones=[{key: given}], teacher={key: given}, other_key=256)
    model['head'] = dict(backbone={key: 256})
    shrink_sizes(model)
    assert model['part'] == {key: expected}
    assert model['backbones'] == [model['teacher']] == [{key: given}]
    assert model['head'] == dict(backbone={key: 64}) and model['other_key'] == 256


def test_widths_may_stay():
    model = dict(encoder=dict(embed_dims=256, feedforward_channels=2048, num_feats=128))
    shrink_sizes(model, width_keys=('feedforward_channels',))
    assert model['encoder'] == dict(embed_dims=256, feedforward_channels=128, num_feats=128)


def test_numbers_have_limits_and_small_ones_stay():
    model = dict(
        num_queries=900,
        dn_cfg=dict(num_dn_queries=100, num_queries=None),
        encoder=dict(num_layers=1, layer_cfg=dict()),
        decoder=dict(num_layers=6, layer_cfg=dict(num_points=4)),
        mask_head=dict(num_layers=3),  # of CondInst, no transformer
        bbox_head=dict(stacked_convs=4),
        train_cfg=dict(num_points=12544),
    )
    shrink_sizes(model)
    assert (model['num_queries'], model['decoder']['num_layers']) == (100, 2)
    assert model['dn_cfg'] == dict(num_dn_queries=20, num_queries=None)
    assert model['encoder']['num_layers'] == 1
    assert model['decoder']['layer_cfg']['num_points'] == 4
    assert model['mask_head']['num_layers'] == 3
    assert model['bbox_head']['stacked_convs'] == 2
    assert model['train_cfg']['num_points'] == 1024


@pytest.mark.parametrize(
    'node, norm',
    [
        (dict(type='FPN'), NORM),
        (dict(type='FPN', norm_cfg=dict(type='BN')), dict(type='BN')),
        (dict(type='CSPNeXtPAFPN'), None),  # its own default is a norm
        (dict(type='DyHead'), None),  # takes none
        (dict(type='FCNMaskHead'), NORM),
        (dict(type='CoarseMaskHead'), NORM),  # passes it on to its base class
        (dict(type='NoSuchNeck'), None),
    ],
    ids=lambda value: str(value.get('type')) if value else '',
)
def test_a_norm_is_added_where_there_could_be_one(node, norm):
    node = ConfigDict(node)
    add_norm(Config(dict(default_scope='mmdet')), node)
    assert node.get('norm_cfg') == norm


def test_group_norms_divide_the_narrow_widths():
    model = dict(neck=dict(norm_cfg=dict(type='GN', num_groups=32)), head=dict(num_groups=32))
    model['backbone'] = dict(norm_cfg=dict(type='GN', num_groups=32))
    model['other'] = dict(norm_cfg=dict(type='mmcv.GN', num_groups=4))
    shrink_sizes(model)
    assert model['neck']['norm_cfg']['num_groups'] == 8
    assert model['other']['norm_cfg']['num_groups'] == 4
    assert model['head']['num_groups'] == model['backbone']['norm_cfg']['num_groups'] == 32
