# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""proof.py: the claims about parameters and outputs are counted and computed."""

import sys
import types

import pytest
import torch
from torch import nn

from mmconvnext import ConvNeXt
from mmconvnext.migrate import proof
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
    """A stand-in for its module: our network under its names, each map times its ``scale``."""

    class Peer(ConvNeXt):
        def __init__(self, arch, gap_before_final_norm, out_indices):
            assert not gap_before_final_norm
            super().__init__(arch, out_indices=out_indices)

        def forward(self, x):
            return tuple(map * by for map, by in zip(super().forward(x), scale))

    module = types.ModuleType('mmpretrain.models')
    module.ConvNeXt = Peer
    monkeypatch.setitem(sys.modules, 'mmpretrain', types.ModuleType('mmpretrain'))
    monkeypatch.setitem(sys.modules, 'mmpretrain.models', module)


@pytest.mark.parametrize(
    ('scale', 'verdict'),
    [
        *(((1.0, 1.0), 'are equal'), ((1.01, 1.01), 'are DIFFERENT')),
        *(((1.01, 1.0), 'are DIFFERENT'), ((1.0, 1.01), 'are DIFFERENT')),
        *(((1.0, 1.00005), 'are equal'), ((1.0, 1.0002), 'are DIFFERENT')),
        ((1.0, float('nan')), 'are DIFFERENT'),
    ],
)
def test_outputs_are_compared_where_the_peer_can_be_imported(scale, verdict, monkeypatch):
    fake_mmpretrain(monkeypatch, scale)
    before = dict(type='mmpretrain.ConvNeXt', arch='atto', gap_before_final_norm=False)
    before['out_indices'] = [1, 2]
    after = dict(type=OURS, arch='atto', out_indices=[1, 2])
    lines = prove('no model', {}, None, [Renewed('model.backbone', 'mmpretrain', before, after)])
    assert any(f'outputs with the same weights {verdict}' in line for line in lines)


def test_a_map_too_few_is_a_difference(monkeypatch):
    fake_mmpretrain(monkeypatch, (1.0,))
    before = dict(arch='atto', gap_before_final_norm=False, out_indices=[1, 2])
    _, line = lines_of('mmpretrain', before, dict(arch='atto', out_indices=[1, 2]))
    assert (
        line == "outputs with the same weights are DIFFERENT from mmpretrain's in number or shape"
    )


@pytest.mark.parametrize(
    ('error', 'why'),
    [
        (ModuleNotFoundError('m', name='mmpretrain'), 'is not installed'),
        (ModuleNotFoundError('no x', name='x'), 'cannot be imported: ModuleNotFoundError: no x'),
        (ImportError('old\nmmcv'), 'cannot be imported: ImportError: old'),
    ],
)
def test_without_the_peer_it_says_so(error, why, monkeypatch):
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(proof, 'import_module', fail)
    before = dict(type='mmpretrain.ConvNeXt', arch='atto', out_indices=[0, 1, 2, 3])
    after = dict(type=OURS, arch='atto')
    lines = prove('a fault', {}, None, [Renewed('model.backbone', 'mmpretrain', before, after)])
    count = counted(dict(arch='atto'))
    assert lines == [
        f"model.backbone: {count:,} parameters, as many as mmpretrain's",
        f'model.backbone: outputs not compared: mmpretrain {why}',
        'the whole model cannot be built, so rates were not compared: a fault',
    ]


def lines_of(peer: str, before: dict, after: dict) -> list[str]:
    one = Renewed('model.backbone', peer, before, {'type': OURS, **after})
    outside = Renewed('teacher.backbone', peer, before, {'type': OURS, **after})
    lines = prove('a fault', {}, None, [one, outside])[:-1]
    assert all(line.startswith('model.backbone: ') for line in lines)
    return [line.removeprefix('model.backbone: ') for line in lines]


ATTO = dict(depths=[2, 2, 6, 2], dims=[40, 80, 160, 320])
NORMS = 2 * (40 + 80 + 160 + 320)


@pytest.mark.parametrize(
    ('peer', 'before', 'after', 'text'),
    [
        ('meta', ATTO, {}, "as many as Meta's"),
        (
            'meta',
            {**ATTO, 'out_indices': [2, 3]},
            dict(out_indices=[2, 3]),
            "Meta's has {atto:,}, of which 240 are for norms that it never uses",
        ),
        ('meta', {**ATTO, 'layer_scale_init_value': 0}, {}, "Meta's has {bare:,}"),
        ('timm', {}, {}, "timm's {plain:,} and 1,200 for the output norms"),
        *(
            ('timm', {key: 1}, {}, "not compared: we cannot count the peer's parameters with some")
            for key in ('kernel_sizes', 'norm_layer', 'output_stride')
        ),
    ],
)
def test_how_parameters_are_compared(peer, before, after, text):
    atto = counted(dict(arch='atto'))
    scale = 2 * 40 + 2 * 80 + 6 * 160 + 2 * 320
    text = text.format(atto=atto, bare=atto - scale, plain=atto - NORMS)
    count = counted(dict(arch='atto', **after))
    first, second = lines_of(peer, before, dict(arch='atto', **after))
    assert first.startswith(f'{count:,} parameters, {text}')
    why = "Meta's code cannot be" if peer == 'meta' else 'timm returns feature maps without norms'
    assert second.startswith(f'outputs not compared: {why}')


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
