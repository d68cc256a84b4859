# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: what shows of a design in the tensors is read as it was built, or not at all."""

import pytest
import torch

from mmconvnext import ConvNeXt
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
}


@pytest.mark.parametrize('name', SHOWN)
def test_design_is_read_as_it_was_built(name):
    arch = dict(depths=[1, 1, 2, 1], channels=[12, 16, 24, 32])
    with torch.device('meta'):
        tensors = ConvNeXt(arch, design=SHOWN[name]).state_dict()
    expected = {**PAPER, **SHOWN[name]}
    if 'stem' in SHOWN[name]:
        del expected['stem_patch_size']
    assert design_of(tensors) == expected
    assert set(departures(tensors)) == set(SHOWN[name])


def test_what_does_not_show_clearly_is_left_out(tiny_arch):
    tensors = ConvNeXt(tiny_arch, design=dict(stem='resnet')).state_dict()
    assert design_of(tensors) == dict(kernel_size=7, norm='LN')  # or a patchify stem of 7 x 7
    tensors['stages.2.1.dwconv.weight'] = torch.zeros(32, 1, 5, 5)  # one block of two
    del tensors['downsample_layers.0.0.weight']
    assert design_of(tensors) == dict(norm='LN')
    assert design_of({}) == {}


def test_grn_and_layer_scale_together_depart(tiny_arch):
    tensors = ConvNeXt(tiny_arch, 'v2', layer_scale_init_value=1.0).state_dict()
    assert departures(tensors) == {'both': 'GRN beside layer scale'}
    assert departures(ConvNeXt(tiny_arch, 'v2').state_dict()) == {}
