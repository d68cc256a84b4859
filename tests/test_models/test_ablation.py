# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the branch for ablations can compute the paper's, and only ablations take it."""

import pytest
import torch

from mmconvnext.models.ablation import ablated_branch
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design


@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
def test_without_an_ablation_it_is_the_papers_branch(grn):
    block = ConvNeXtBlock(8, Design(), grn=grn, layer_scale_init_value=1.0, kernels='plain')
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    x = torch.randn(2, 8, 9, 7)
    assert torch.equal(ablated_branch(block, x), block._branch(x))


@pytest.mark.parametrize(
    ('switches', 'ablated'),
    [
        (dict(), False),
        (dict(kernel_size=3, norm='BN', act='SiLU', group_width=None), False),
        (dict(spatial_first=False), True),
        (dict(act_after='every_conv'), True),
        (dict(norm_after='every_conv'), True),
    ],
    ids=str,
)
def test_only_another_order_or_more_layers_take_it(switches, ablated, monkeypatch):
    calls = []
    monkeypatch.setattr('mmconvnext.models.block.ablated_branch', lambda _, x: calls.append(x) or x)
    ConvNeXtBlock(8, Design(**switches), kernels='plain')(torch.randn(1, 8, 5, 5))
    assert bool(calls) == ablated
