# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: under autocast the fused block is as accurate as the plain one, with the same types.

Only the branches are measured, without the residual that they are added to: with a small layer
scale a branch is small compared with it, and vanishes in a bfloat16 residual stream.
"""

from collections import defaultdict

import pytest
import torch
from torch import nn

from mmconvnext import ConvNeXt
from mmconvnext.kernels.ops import capability
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
CHANNELS = 24
# How much larger than plain's an error may be: both come from random roundings.
BOUND = 1.5


def blocks(depth: int, layer_scale: float | None, kernels: str) -> nn.Sequential:
    """``layer_scale`` None is V2. All weights count: activations keep their size."""
    torch.manual_seed(depth)
    model = nn.Sequential(
        *(
            ConvNeXtBlock(
                CHANNELS,
                Design(),
                grn=layer_scale is None,
                layer_scale_init_value=layer_scale or 0.0,
                kernels=kernels,
            )
            for _ in range(depth)
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            elif name.endswith(('norm.weight', '.gamma')) and 'grn' not in name:
                parameter.mul_(1 + 0.2 * noise)
            else:
                parameter.copy_(0.3 * noise)
    return model


def run(model: nn.Module, x: torch.Tensor, grad: torch.Tensor, autocast: bool) -> tuple:
    """What the blocks add to the map and to its gradient; parameter gradients; the map's type."""
    leaf = x.clone().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        out = model(leaf)
    out.backward(grad.to(out.dtype))
    branches = {'branch': out.detach().double() - x.double()}
    if x.dtype != torch.bfloat16:  # else the gradient itself is rounded, by autograd's own cast
        branches['gradient'] = leaf.grad.double() - grad.double()
    return branches | {n: p.grad for n, p in model.named_parameters()}, out.dtype


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return ((found.double() - exact).square().mean() / exact.square().mean()).sqrt().item()


def rms_of_kinds(found: dict, exact: dict) -> dict[str, float]:
    """Relative errors over all blocks: that of a single vector depends on chance."""
    errors = defaultdict(list)
    for name, value in found.items():
        errors[name.lstrip('0123456789.')].append(relative(value, exact[name]) ** 2)
    return {kind: (sum(values) / len(values)) ** 0.5 for kind, values in errors.items()}


@pytest.mark.parametrize('stream', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ('layer_scale', 'depth'),
    [*((1e-6, 9), (1e-4, 9), (1e-2, 9), (1.0, 9), (None, 9)), *((1e-6, 36), (None, 36))],
)
def test_as_exact_as_the_plain_path(layer_scale, depth, stream):
    x, grad = torch.randn(2, CHANNELS, 10, 9).to(stream), torch.randn(2, CHANNELS, 10, 9)
    if stream == torch.bfloat16:
        grad = grad.bfloat16().float()
    exact, _ = run(blocks(depth, layer_scale, 'plain').double(), x.double(), grad.double(), False)
    plain, expected_type = run(blocks(depth, layer_scale, 'plain'), x, grad, True)
    fast, found_type = run(blocks(depth, layer_scale, 'fast'), x, grad, True)
    assert found_type == expected_type
    assert (found_type == torch.float32) == (layer_scale is not None or stream == torch.float32)
    ours, theirs = rms_of_kinds(fast, exact), rms_of_kinds(plain, exact)
    for kind, error in ours.items():
        assert error <= BOUND * theirs[kind], (kind, error, theirs[kind])


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('training', [False, True])
def test_maps_have_the_type_of_the_plain_path(version, training):
    maps = []
    for kernels in ('plain', 'fast'):
        model = ConvNeXt(dict(depths=[1, 2], channels=[8, 24]), version, kernels=kernels)
        with torch.autocast('cpu', torch.bfloat16), torch.set_grad_enabled(training):
            maps.append([m.dtype for m in model.train(training)(torch.randn(1, 3, 32, 32))])
    assert maps[0] == maps[1]


def test_a_branch_is_not_lost_beside_a_large_residual():
    """bfloat16 holds 8 bits: 1 + 1e-3 is 1 there."""
    x = 1 + torch.rand(1, CHANNELS, 8, 8)
    block = blocks(1, 1e-3, 'fast')
    with torch.no_grad():
        exact = block(x) - x
        with torch.autocast('cpu', torch.bfloat16):
            found = block(x) - x
    assert relative(found, exact.double()) < 1e-2


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64], ids=str)
def test_other_types_run_plain(dtype):
    plain, auto = blocks(1, 1.0, 'plain'), blocks(1, 1.0, 'auto')
    x = torch.randn(1, CHANNELS, 6, 6)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        if dtype == torch.float64:  # which autocast leaves alone
            plain, auto, x = plain.double(), auto.double(), x.double()
        else:
            plain[0].gamma.data = plain[0].gamma.data.half()
            auto[0].gamma.data = auto[0].gamma.data.half()
        assert torch.equal(plain(x), auto(x))
