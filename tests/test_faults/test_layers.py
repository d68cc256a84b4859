# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/layers.py: the layer in which numbers stop being finite."""

import pytest
import torch
from number_runs import BadGradient
from torch import nn

from mmconvnext.faults.layers import Layers
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design


class Bad(nn.Module):
    """Bad numbers in the forward or the backward pass."""

    def __init__(self, forwards=''):
        super().__init__()
        self.forwards = forwards

    def forward(self, value):
        return value * float(self.forwards) if self.forwards else BadGradient.apply(value)


def model(*layers):
    inner = nn.Sequential(nn.Linear(3, 4), *layers)
    return nn.Sequential(inner, nn.Linear(4, 2))


@pytest.mark.parametrize('value', ['nan', 'inf'])
def test_forwards_the_innermost_and_first(value):
    net = model(nn.Softplus(), Bad(value), nn.GELU())
    with Layers(net) as layers:
        net(torch.ones(2, 3))
    assert layers.forward() == (
        '0.2 (Bad): 8 of 8 values of its output are NaN or inf, its input is finite'
    )
    assert layers.place == 3


def test_backwards_the_innermost_and_first():
    net = model(nn.ReLU(inplace=True), Bad(), nn.GELU())
    with Layers(net) as layers:
        net(torch.ones(2, 3)).sum().backward()
    assert layers.forward() == ''
    assert layers.backward() == (
        '0.2 (Bad): the gradient of its output is finite, that of its input is not'
    )


def test_between_layers_the_one_before_is_told():
    net = model(nn.ReLU())
    with Layers(net) as layers:
        net[1](BadGradient.apply(net[0](torch.ones(2, 3)))).sum().backward()
    told = '0.1 (ReLU): the gradient of its output is the first that is not finite'
    assert layers.backward() == told


def test_all_is_finite_and_hooks_are_removed():
    net = model(nn.ReLU())
    with Layers(net) as layers:
        net(torch.ones(2, 3)).sum().backward()
    assert (layers.forward(), layers.backward()) == ('', '')
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())


def test_our_blocks_keep_their_fast_path():
    net = nn.Sequential(ConvNeXtBlock(8, Design()))
    with Layers(net):
        assert net[0]._forward_hooks and not net[0].dwconv._forward_hooks
