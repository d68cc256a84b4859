# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the CUDA operators are correct, and the block with Triton kernels equals the plain one.

Without a GPU the same functions run on the CPU, the kernels in Triton's interpreter.
"""

import copy
from types import SimpleNamespace

import pytest
import torch

from mmconvnext.kernels import block as block_module
from mmconvnext.kernels import reference
from mmconvnext.kernels.ops import fold, mlp
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

pytest.importorskip('triton')


@pytest.fixture
def cuda(kernels):
    """The module that registers the operators; its functions are called directly here."""
    from mmconvnext.kernels import cuda

    return cuda


@pytest.mark.parametrize('given', ['in', 'out', 'shift', 'all', 'none'])
def test_scale_linear_and_its_gradients(given, cuda):
    weight, bias = torch.randn(12, 5), torch.randn(12)
    in_scale = torch.randn(5) if given in ('in', 'all') else None
    in_shift = torch.randn(5) if given in ('shift', 'all') else None
    out_scale = torch.randn(12) if given in ('out', 'all') else None
    arguments = (weight, bias, in_scale, in_shift, out_scale)
    leaves = [None if t is None else t.double().requires_grad_() for t in arguments]
    expected = reference.scale_linear(*leaves)
    for found, wide in zip(cuda.scale_linear(*arguments, torch.float32), expected):
        torch.testing.assert_close(found, wide.detach().float())
    grads = torch.randn(12, 5), torch.randn(12)
    asked = [t for t in leaves if t is not None]
    wide = iter(torch.autograd.grad(expected, asked, [g.double() for g in grads]))
    for leaf, grad in zip(leaves, cuda.scale_linear_backward(*grads, *arguments)):
        if leaf is not None:
            torch.testing.assert_close(grad, next(wide).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('autocast', [False, True], ids=['float32', 'autocast'])
@pytest.mark.parametrize('keep', [[1, 1], [0, 1]], ids=str)
@pytest.mark.parametrize(
    ('grn', 'scale'), [(False, 1.0), (True, 0.0), (True, 1.0)], ids=['v1', 'v2', 'both']
)
def test_block_on_triton_kernels_is_the_plain_block(
    grn, scale, keep, autocast, kernels, cuda, monkeypatch
):
    operators = SimpleNamespace(
        scale_linear=cuda.scale_linear,
        scale_linear_backward=cuda.scale_linear_backward,
        **{name: getattr(kernels, name) for name in kernels.__all__},
        fold=fold.fold_composite,
        mlp=mlp.mlp_composite,
        mlp_backward=mlp.mlp_backward_composite,
    )
    for module in (block_module, fold, mlp):
        monkeypatch.setattr(module, 'OPS', operators)
    options = dict(grn=grn, layer_scale_init_value=scale, drop_path_rate=0.4)
    plain, fast = (ConvNeXtBlock(8, Design(), kernels=k, **options) for k in ('plain', 'fast'))
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    fast.load_state_dict(plain.state_dict())
    exact = copy.deepcopy(plain).double()
    monkeypatch.setattr('mmconvnext.models.fusion.why_not', lambda x, dtype: '')
    x, grad = torch.randn(2, 8, 9, 7), torch.randn(2, 8, 9, 7)
    results = []
    for block in (plain, fast, exact):
        monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.tensor(keep, dtype=torch.bool))
        leaf = x.clone().to(block.norm.weight.dtype).requires_grad_()
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast and block is not exact):
            out = block(leaf)
        out.backward(grad.to(out.dtype))
        results.append([out.detach(), leaf.grad, *(p.grad for p in block.parameters())])
    # Under autocast plain itself is up to 0.042 off here: on one thread torch's layer norm sums the
    # gradient of its weight in bfloat16.
    bound = 3e-2 if autocast else 1e-5
    for found, like, expected in zip(results[1], *results[::2]):
        assert found.dtype == like.dtype
        assert (found - expected).abs().max() < bound * expected.abs().max()
