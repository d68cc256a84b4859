# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""proof.py: the claims about parameters and outputs are counted and computed."""

import sys
import types

import pytest
import torch
from torch import nn

from mmconvnext import ConvNeXt
from mmconvnext.migrate.backbone import OURS, Renewed
from mmconvnext.migrate.proof import built, expected_parameters, prove, shares_parameters


def counted(arguments):
    with torch.device('meta'):
        return sum(param.numel() for param in ConvNeXt(**arguments).parameters())


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        (dict(), dict(arch='tiny', out_indices=-1)),
        (dict(arch='small', out_indices=[0, 1, 2, 3]), dict(arch='small')),
        (
            dict(arch='base', use_grn=True, layer_scale_init_value=0.0, out_indices=(1, 3)),
            dict(arch='base', version='v2', layer_scale_init_value=0.0, out_indices=(1, 3)),
        ),
        (
            dict(arch='atto', in_channels=4, stem_patch_size=2, layer_scale_init_value=0.0),
            dict(
                arch='atto',
                in_channels=4,
                design=dict(stem_patch_size=2),
                layer_scale_init_value=0.0,
                out_indices=-1,
            ),
        ),
        (
            dict(arch=dict(depths=[1, 2], channels=[8, 16]), out_indices=[0, -1]),
            dict(arch=dict(depths=[1, 2], channels=[8, 16])),
        ),
    ],
)
def test_the_count_by_arguments_of_mmpretrain_is_that_of_our_model(before, after):
    one = Renewed('model.backbone', 'mmpretrain', before, {'type': OURS, **after})
    assert expected_parameters(one) == (counted(after), 0)


def test_norms_that_meta_builds_and_never_uses():
    before = dict(depths=[3, 3, 9, 3], dims=[96, 192, 384, 768], out_indices=[1, 2, 3])
    after = dict(arch='tiny', out_indices=[1, 2, 3])
    one = Renewed('model.backbone', 'meta', before, {'type': OURS, **after})
    assert expected_parameters(one) == (counted(after) + 192, 192)


def test_timms_maps_have_no_norms():
    one = Renewed('b', 'timm', dict(model_name='convnext_tiny'), dict(type=OURS, arch='tiny'))
    expected, _ = expected_parameters(one)
    assert counted(dict(arch='tiny')) - expected == 2 * (96 + 192 + 384 + 768)


def fake_mmpretrain(monkeypatch, scale):
    """A stand-in for its module: our network under its names, times ``scale``."""

    class Peer(ConvNeXt):
        def __init__(self, arch, gap_before_final_norm, out_indices):
            assert not gap_before_final_norm
            super().__init__(arch, out_indices=out_indices)

        def forward(self, x):
            return tuple(map * scale for map in super().forward(x))

    module = types.ModuleType('mmpretrain.models')
    module.ConvNeXt = Peer
    monkeypatch.setitem(sys.modules, 'mmpretrain', types.ModuleType('mmpretrain'))
    monkeypatch.setitem(sys.modules, 'mmpretrain.models', module)


@pytest.mark.parametrize(('scale', 'verdict'), [(1.0, 'are equal'), (1.01, 'are DIFFERENT')])
def test_outputs_are_compared_where_the_peer_can_be_imported(scale, verdict, monkeypatch):
    fake_mmpretrain(monkeypatch, scale)
    before = dict(type='mmpretrain.ConvNeXt', arch='atto', gap_before_final_norm=False)
    before['out_indices'] = [1, 2]
    after = dict(type=OURS, arch='atto', out_indices=[1, 2])
    lines = prove('no model', {}, None, [Renewed('model.backbone', 'mmpretrain', before, after)])
    assert any(f'outputs with the same weights {verdict}' in line for line in lines)


def test_without_the_peer_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmpretrain', None)
    monkeypatch.setitem(sys.modules, 'mmpretrain.models', None)
    before = dict(type='mmpretrain.ConvNeXt', arch='atto', out_indices=[0, 1, 2, 3])
    after = dict(type=OURS, arch='atto')
    lines = prove('a fault', {}, None, [Renewed('model.backbone', 'mmpretrain', before, after)])
    assert (
        lines[0] == ("model.backbone: 3,388,840 parameters, as many as mmpretrain's")
        or 'as many as' in lines[0]
    )
    assert 'outputs not compared: mmpretrain ' in lines[1]
    assert lines[2].endswith('rates were not compared: a fault')


def test_a_model_that_cannot_be_built_is_a_line():
    assert 'no_such_module' in built(
        dict(model=dict(type='A'), custom_imports=dict(imports=['no_such_module']))
    )
    assert 'NoSuch' in built(dict(default_scope='mmdet', model=dict(type='NoSuch')))


def test_shared_parameters_are_seen():
    layer = nn.Linear(2, 2)
    assert shares_parameters(nn.ModuleList([layer, layer]))
    assert not shares_parameters(nn.ModuleList([layer, nn.Linear(2, 2)]))
    assert not shares_parameters('fault')
