# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a block's parameters have one order, in the tuple, the state dict and the operators."""

import re

import torch

from mmconvnext.kernels.ops import OPS
from mmconvnext.kernels.parameters import Parameters
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design
from mmconvnext.models.fusion import NAMES, parameters_of


def test_fields_are_the_names_in_the_state_dict():
    block = ConvNeXtBlock(8, Design(), grn=True, layer_scale_init_value=1.0)
    assert set(NAMES) == set(block.state_dict())
    for name, tensor in zip(NAMES, parameters_of(block)):
        assert tensor is block.get_parameter(name), name


def test_views_and_operators_follow_the_order_of_the_fields():
    p = Parameters(*Parameters._fields)  # the names instead of tensors
    spread = [*p.norm, *p.pwconv1, *p.pwconv2, p.gamma, *p.grn]
    assert ['dwconv_weight', 'dwconv_bias', *spread] == list(p)
    arguments = [a.name for a in OPS.mlp_backward.default._schema.arguments]
    start = arguments.index('norm_weight')
    taken = arguments[start : start + len(spread)]
    assert taken == [re.sub(r'pwconv(\d)_(\w+)', r'\2\1', field) for field in spread]


def test_gradients_of_the_operator_come_in_the_same_order():
    block = ConvNeXtBlock(8, Design(), grn=True, layer_scale_init_value=1.0)
    p, rows = parameters_of(block), torch.zeros(6, 8, device='meta')
    p = Parameters(*(t.detach().to('meta') for t in p))
    hidden, squares = torch.zeros(6, 32, device='meta'), torch.zeros(2, 32, device='meta')
    given = [*p.norm, *p.pwconv1, *p.pwconv2, p.gamma, *p.grn]
    _, *grads = OPS.mlp_backward(rows, rows, hidden, squares, *given, 1.0, 1e-6, 2)
    assert [g.shape for g in grads] == [t.shape for t in given]
