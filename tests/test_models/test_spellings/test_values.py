# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: names under which other packages publish sizes and weights are read, and no others."""

import pytest
import torch
from mmengine.registry import MODELS

from mmconvnext.checkpoint import zoo
from mmconvnext.models.design import CHOICES
from mmconvnext.models.spellings.values import (
    Refused,
    activation,
    called,
    length,
    named,
    norm,
    num_stages,
    one,
    other_network,
    size_of,
    stages,
    without_stem,
)

SMALL = dict(depths=[3, 3, 27, 3], channels=[96, 192, 384, 768])


@pytest.mark.parametrize(
    ('name', 'arguments', 'weights'),
    [
        ('Tiny', dict(arch='tiny'), None),
        ('T', dict(arch='tiny'), None),
        ('XL', dict(arch='xlarge'), None),
        ('H', dict(arch='huge', version='v2'), None),
        ('convnext-t', dict(arch='tiny'), None),
        ('ConvNeXt-T', dict(arch='tiny'), None),
        ('convnext_tiny', dict(arch='tiny'), None),
        ('convnext_tiny_in22k', dict(arch='tiny'), None),
        ('convnext_large_mlp', dict(arch='large'), None),
        ('convnextv2_huge', dict(arch='huge', version='v2'), None),
        ('convnextv2_small', dict(arch=SMALL, version='v2'), None),
        ('convnext_tiny.fb_in1k', dict(arch='tiny'), 'timm/convnext_tiny.fb_in1k'),
        ('hf-hub:timm/convnext_base.fb_in1k', dict(arch='base'), 'timm/convnext_base.fb_in1k'),
        ('facebook/convnext-tiny-224', dict(arch='tiny'), 'hf/facebook/convnext-tiny-224'),
        ('convnext-tiny_in1k', dict(arch='tiny'), 'convnext-tiny_in1k'),
        (
            'convnext_xxlarge.clip_laion2b_soup',
            dict(
                arch=dict(depths=[3, 4, 30, 3], channels=[384, 768, 1536, 3072]),
                design=dict(norm_eps=1e-5),
            ),
            'timm/convnext_xxlarge.clip_laion2b_soup',
        ),
    ],
)
def test_names(name, arguments, weights):
    assert called(name) == (arguments, weights)


@pytest.mark.parametrize(
    'name',
    ['resnet50', 'basement', 'tiny-foo', 'swin_tiny', 'convnext_iso_small', 'tinyx', None, 3],
)
def test_other_names_are_no_sizes(name):
    assert named(name) is None and called(name) is None


@pytest.mark.parametrize(
    ('name', 'choice', 'value'),
    [
        ('convnext_nano_ols', 'stem', 'overlap'),
        ('convnext_atto_ols', 'stem', 'overlap_tiered'),
        ('convnext_zepto_rms', 'norm', 'SimpleNorm'),
    ],
)
def test_a_design_that_is_not_built_is_not_offered(name, choice, value, monkeypatch):
    """timm's overlapping stems and norms: the arguments for them, while there are such choices."""
    assert named(name) is None
    assert called(name)[0]['design'] == {choice: value}
    others = tuple(other for other in CHOICES[choice] if other != value)
    monkeypatch.setitem(CHOICES, choice, others)
    assert called(name) is None and called('convnext_tiny') is not None


@pytest.mark.parametrize('source', ['timm/', 'hf/'])
def test_every_published_name_that_is_read_is_built(source):
    """At least 25 files of each; the network of a size is built once."""
    names = [name for name in zoo.published() if name.startswith(source)]
    found = {name: called(name[len(source) :]) for name in names}
    assert [name for name in names if found[name] and found[name][1] != name] == []
    assert len([name for name in names if found[name]]) > 25
    small = ('atto', 'femto', 'pico', 'nano')
    for arguments in {str(pair[0]): pair[0] for pair in found.values() if pair}.values():
        if arguments['arch'] in small:
            with torch.device('meta'):
                MODELS.build(dict(type='mmconvnext.ConvNeXt', **arguments))


def test_a_size_of_ours():
    assert named('convnextv2_tiny') == ('tiny', 'v2', None)
    assert named('convnext_tiny.fb_in1k') == ('tiny', 'v1', 'timm/convnext_tiny.fb_in1k')
    assert named('convnext_xxlarge') is None


def test_numbers():
    assert one(7) == one((7,)) == one((7, 7)) == one([7, 7, 7, 7]) == 7
    assert one([3, 7]) == (3, 7)
    assert stages(['stage1', 'stage4']) == (0, 3)
    assert without_stem((1, 4, -1)) == [0, 3, -1]
    assert stages(['stage10']) == (9,)
    for name in ('stage0', 'stage01', 'stem', 'stage1x'):
        with pytest.raises(Refused, match='not the stem'):
            stages([name])
    assert without_stem(2) == [1] and without_stem([0, 3]) == [2]


# Name, our norm, and the epsilon that the name stands for: torch's, or timm's for its own norms.
NORMS = [
    *((name, 'LN', 1e-5) for name in ('LN', 'LN2d', 'LayerNorm', 'LayerNorm2d')),
    *((name, 'LN', 1e-6) for name in ('layernorm', 'layernorm2d')),
    *((name, 'SimpleNorm', 1e-6) for name in ('simplenorm', 'simplenorm2d')),
    *((name, 'BN', 1e-5) for name in ('BN', 'BN2d', 'BatchNorm2d')),
    *((name, 'SyncBN', 1e-5) for name in ('SyncBN', 'SyncBatchNorm')),
]


@pytest.mark.parametrize(('name', 'ours', 'eps'), NORMS)
def test_every_name_of_a_norm(name, ours, eps):
    expected = dict(norm=ours, norm_eps=eps)
    kind = type(name, (), {})  # a class of this name, as in a pure Python config
    for given in (name, f'mmpretrain.models.{name}', kind, dict(type=name, requires_grad=True)):
        assert norm(given) == expected
    assert norm(dict(type=kind, eps=0.5)) == dict(norm=ours, norm_eps=0.5)


ACTIVATIONS = {
    'GELU': ('GELU', 'gelu', 'mmcv.GELU'),
    'GELU_tanh': ('gelu_tanh', 'gelu_new', 'gelu_pytorch_tanh'),
    'ReLU': ('ReLU', 'relu'),
    'SiLU': ('SiLU', 'silu', 'Swish', 'swish'),
}


@pytest.mark.parametrize(
    ('name', 'ours'), [(name, ours) for ours, names in ACTIVATIONS.items() for name in names]
)
def test_every_name_of_an_activation(name, ours):
    for given in (name, dict(type=name), dict(type=name, inplace=False)):
        assert activation(given) == dict(act=ours)
    if ours == 'GELU':
        assert activation(dict(type=name, approximate='none')) == dict(act='GELU')
        assert activation(dict(type=name, approximate='tanh')) == dict(act='GELU_tanh')
    else:
        with pytest.raises(Refused, match='is not supported'):
            activation(dict(type=name, approximate='tanh'))


def test_every_letter_is_a_size():
    letters = 'A F P N T S B L XL H'.split()
    sizes = 'atto femto pico nano tiny small base large xlarge huge'.split()
    versions = ['v1'] * 9 + ['v2']
    for letter, size, version in zip(letters, sizes, versions):
        for name in (letter, letter.lower(), f'ConvNeXt-{letter}', size, f'convnext_{size}'):
            assert named(name) == (size, version, None), name
        assert named(f'ConvNeXtV2-{letter}') == (size, 'v2', None)


ZEPTO = dict(depths=[2, 2, 4, 2], channels=[32, 64, 128, 256])


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('convnext_zepto_rms', dict(arch=ZEPTO, design=dict(norm='SimpleNorm'))),
        (
            'convnext_zepto_rms_ols',
            dict(arch=ZEPTO, design=dict(norm='SimpleNorm', stem='overlap_act')),
        ),
        ('convnext_nano_ols', dict(arch='nano', design=dict(stem='overlap'))),
        *(
            (f'convnext_{size}_ols', dict(arch=size, design=dict(stem='overlap_tiered')))
            for size in ('atto', 'femto', 'pico')
        ),
        (
            'hf_hub:timm/convnext_xxlarge',
            dict(
                arch=dict(depths=[3, 4, 30, 3], channels=[384, 768, 1536, 3072]),
                design=dict(norm_eps=1e-5),
            ),
        ),
    ],
)
def test_designs_of_timms_sizes(name, arguments):
    for _ in range(2):  # the answer may be changed without effect on the next
        found, weights = called(name)
        assert (found, weights) == (arguments, None)
        found['design']['norm'] = 'BN'


@pytest.mark.parametrize(
    'zoo', ['open-mmlab', 'openmmlab', 'torchvision', 'modelzoo', 'mmcls', 'jhu']
)
def test_zoos_show_another_network_by_name(zoo):
    assert other_network(f'{zoo}://resnet50')
    assert not other_network(f'{zoo}://ConvNeXt_tiny')
    assert not other_network(f'weights/{zoo}/resnet50.pth')


def test_stages_are_counted_in_any_spelling():
    assert num_stages('tiny') == num_stages('convnext_base') == num_stages('T') == 4
    assert num_stages(dict(depths=[1, 2, 3], channels=[8])) == 3
    for arch in ('resnet50', None, 7, ['tiny'], dict(channels=[8]), dict(depths=[]), {'depths': 3}):
        assert num_stages(arch) is None
    assert length((1, 2)) == length([3, 4]) == 2 and length([]) is length(5) is length('ab') is None


def test_sizes_have_their_names_in_the_version_that_published_them():
    small = ([3, 3, 27, 3], [96, 192, 384, 768])
    as_dict = dict(depths=small[0], channels=small[1])
    assert size_of(*small, 'v1') == size_of(*map(tuple, small), 'v1') == 'small'
    assert size_of(*small, 'v2') == size_of(*map(tuple, small), 'v2') == as_dict
    assert size_of([3, 3, 27, 3], [352, 704, 1408, 2816], 'v2') == 'huge'
    assert size_of([3, 3, 9, 3], [96, 192, 384, 512], 'v1') == dict(
        depths=[3, 3, 9, 3], channels=[96, 192, 384, 512]
    )
    assert size_of(5, [8], 'v1') == dict(depths=5, channels=[8])
    assert size_of([1], 8, 'v1') == dict(depths=[1], channels=8)
