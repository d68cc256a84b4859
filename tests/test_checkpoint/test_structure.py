# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a design is read from the tensors correctly, or not at all."""

import re

import pytest
import torch

from mmconvnext import ConvNeXt
from mmconvnext.checkpoint.errors import CheckpointMismatch
from mmconvnext.checkpoint.structure import PAPER, departures, design_of

SHOWN = {
    'the paper': {},
    'overlap': dict(stem='overlap'),
    'tiered': dict(stem='overlap_tiered'),
    'act': dict(stem='overlap_act', norm='SimpleNorm'),
    'patch': dict(stem_patch_size=2),
    'kernel': dict(kernel_size=3),
    'kernels': dict(kernel_size=[7, 5, 5, 3]),
    'batch norm': dict(norm='BN'),
    'groups': dict(group_width=4),
    'dense': dict(group_width=None),
    'bottleneck': dict(expansion_ratio=0.25, spatial_first=False),
}


@pytest.mark.parametrize('name', SHOWN)
def test_design_is_read_as_it_was_built(name):
    arch = dict(depths=[1, 1, 2, 1], channels=[12, 16, 24, 32])
    with torch.device('meta'):
        tensors = ConvNeXt(arch, design=SHOWN[name]).state_dict()
    shown = {key: value for key, value in SHOWN[name].items() if key in PAPER}
    paper = dict(stem='patchify', stem_patch_size=4, group_width=1, expansion_ratio=4)
    expected = {**paper, 'kernel_size': 7, 'norm': 'LN', **shown}
    if 'stem' in SHOWN[name]:
        del expected['stem_patch_size']
    assert design_of(tensors) == expected
    assert set(departures(tensors)) == set(shown)


def test_what_does_not_show_clearly_is_left_out(tiny_arch):
    tensors = ConvNeXt(tiny_arch, design=dict(stem='resnet')).state_dict()
    blocks = dict(group_width=1, expansion_ratio=4, kernel_size=7, norm='LN')
    assert design_of(tensors) == blocks  # or a patchify stem of 7 x 7
    tensors['stages.2.1.dwconv.weight'] = torch.zeros(32, 1, 5, 5)  # one block of two
    del tensors['downsample_layers.0.0.weight']
    assert design_of(tensors) == dict(group_width=1, expansion_ratio=4, norm='LN')
    assert design_of({}) == {}


def tensors_of(**shapes: tuple) -> dict:
    """Filters (`dwconv0` is stage 0), pointwise layers (`pwconv0`) and stem (`stem0`) of shapes."""
    names = {'dwconv': 'stages.{}.0.dwconv', 'pwconv': 'stages.{}.0.pwconv1'}
    names['stem'] = 'downsample_layers.0.{}'
    return {
        names[key[:-1]].format(key[-1]) + '.weight': torch.empty(shape, device='meta')
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ('shapes', 'expected'),
    [
        # The stem: a patch, by its side; two or three convolutions; anything else says nothing.
        (dict(stem0=(8, 3, 2, 2)), dict(stem='patchify', stem_patch_size=2)),
        (dict(stem0=(8, 3, 6, 6)), dict(stem='patchify', stem_patch_size=6)),
        (dict(stem0=(8, 3, 7, 7)), {}),
        (dict(stem0=(8, 3, 4, 2)), {}),
        (dict(stem0=(8, 48)), {}),
        (dict(stem0=(8, 3, 3, 3), stem1=(8,)), dict(stem='patchify', stem_patch_size=3)),
        (dict(stem0=(8, 3, 3, 3), stem1=(8, 8, 3, 3)), dict(stem='overlap')),
        (dict(stem0=(4, 3, 3, 3), stem1=(8, 4, 3, 3)), dict(stem='overlap_tiered')),
        (dict(stem0=(8, 3, 3, 3), stem2=(8, 8, 3, 3)), dict(stem='overlap_act')),
        (dict(stem1=(8, 8, 3, 3)), {}),
        # Filters: groups of one width, or dense, or neither; sides by stage, in their order.
        (dict(dwconv0=(8, 2, 5, 5), dwconv1=(12, 2, 5, 5)), dict(group_width=2, kernel_size=5)),
        (dict(dwconv0=(8, 8, 5, 5), dwconv1=(12, 12, 5, 5)), dict(group_width=None, kernel_size=5)),
        (dict(dwconv0=(8, 8, 5, 5), dwconv1=(12, 3, 5, 5)), dict(kernel_size=5)),
        (dict(dwconv1=(8, 1, 5, 5), dwconv0=(8, 1, 7, 7)), dict(group_width=1, kernel_size=[7, 5])),
        (dict(dwconv0=(8, 1, 5, 7)), dict(group_width=1)),
        (dict(dwconv0=(8, 1, 5)), dict(kernel_size=5)),
        # Pointwise layers: one ratio, a whole number if it is one.
        (dict(pwconv0=(32, 8), pwconv1=(48, 12)), dict(expansion_ratio=4)),
        (dict(pwconv0=(20, 8)), dict(expansion_ratio=2.5)),
        (dict(pwconv0=(2, 8)), dict(expansion_ratio=0.25)),
        (dict(pwconv0=(32, 8), pwconv1=(48, 8)), {}),
        (dict(pwconv0=(32, 8, 1, 1)), {}),
        (dict(pwconv0=(32, 0)), {}),
    ],
    ids=str,
)
def test_what_shapes_say(shapes, expected):
    found = design_of(tensors_of(**shapes))
    assert found == expected
    assert all(type(found[key]) is type(value) for key, value in expected.items())


@pytest.mark.parametrize(
    ('parts', 'norm'),
    [
        (('weight', 'bias'), 'LN'),
        (('weight', 'bias', 'running_mean', 'running_var'), 'BN'),
        (('weight',), 'SimpleNorm'),
        ((), None),
    ],
)
def test_what_the_parts_of_norms_say(parts, norm):
    tensors = {f'stages.2.1.norm.{part}': torch.ones(3) for part in parts}
    assert design_of(tensors) == ({'norm': norm} if norm else {})


def test_grn_and_layer_scale_together_depart(tiny_arch):
    tensors = ConvNeXt(tiny_arch, 'v2', layer_scale_init_value=1.0).state_dict()
    assert departures(tensors) == {'both': 'GRN with layer scale'}
    assert departures(ConvNeXt(tiny_arch, 'v2').state_dict()) == {}


@pytest.mark.parametrize(
    'design',
    [
        dict(expansion_ratio=2),
        dict(group_width=None),
        dict(group_width=4),
        dict(stem='resnet'),
        dict(norm='BN', stem='overlap', expansion_ratio=1, kernel_size=5),
    ],
    ids=str,
)
def test_the_line_of_the_error_builds_what_loads(design, tiny_arch):
    """The paper's weights into each ablation: one error lists everything that has to change."""
    weights = ConvNeXt(tiny_arch).state_dict()
    other = dict(depths=[1, 1, 1, 1], channels=[8, 16, 24, 40])
    with pytest.raises(CheckpointMismatch) as error:
        ConvNeXt(other, design=design).load_state_dict(weights)
    line = re.search('; set (.*), or use weights of your size', str(error.value))[1]
    settings = eval(f'dict({line})', {'dict': dict})
    settings['design'] = {**design, **settings['design']}
    ConvNeXt(**settings).load_state_dict(weights)
