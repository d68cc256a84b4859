# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the CUDA operators are correct, and the block with Triton kernels equals the plain one.

Without a GPU the same functions run on the CPU, the kernels in Triton's interpreter.
"""

import contextlib
import copy

import pytest
import torch

from mmconvnext.kernels import reference
from mmconvnext.kernels.ops import OF_MAPS, fold
from mmconvnext.kernels.parameters import Options
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design
from mmconvnext.models.fusion import parameters_of

from .conftest import DEVICE, composed, use_operators

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


def test_folding_is_exact_for_half_precision_weights(cuda):
    """Products are float32 and rounded once; gradients are float32, whatever the parameters are."""
    half = [torch.randn(size).bfloat16() for size in ((12, 40), (12,), (40,), (40,), (12,))]
    wide = [t.double().requires_grad_() for t in half]
    expected = reference.scale_linear(*wide)
    for dtype, bound in ((torch.float32, 1e-6), (torch.bfloat16, 4e-3)):
        for found, exact in zip(cuda.scale_linear(*half, dtype), expected, strict=True):
            assert found.dtype == dtype
            assert (found - exact).abs().max() < bound * exact.abs().max()
    grads = torch.randn(12, 40).bfloat16(), torch.randn(12).bfloat16()
    exact = torch.autograd.grad(expected, wide, [g.double() for g in grads])
    for found, wanted in zip(cuda.scale_linear_backward(*grads, *half), exact, strict=True):
        assert found.dtype == torch.float32 and found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_folded_weights_share_no_memory_with_the_parameters(dtype, cuda, monkeypatch):
    monkeypatch.setattr(fold, 'OPS', composed(scale_linear=cuda.scale_linear))
    block = ConvNeXtBlock(8, Design()).to(dtype)  # no scale, no shift: the second layer as it is
    options = Options(1e-6, 0.0, dtype)
    folded = fold.fold(parameters_of(block), options)
    before = [t.clone() for t in folded]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    assert all(torch.equal(old, new) and new.any() for old, new in zip(before, folded, strict=True))


def test_autocast_does_not_change_how_weights_are_folded(cuda, monkeypatch):
    monkeypatch.setattr(fold, 'OPS', composed(scale_linear=cuda.scale_linear))
    block = ConvNeXtBlock(8, Design(), grn=True, layer_scale_init_value=0.5)
    with torch.no_grad():
        block.norm.bias.normal_()
        block.grn.beta.normal_()
    results = []
    for enabled in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            results.append(fold.fold(parameters_of(block), Options(1e-6, 1e-6, torch.float32)))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_each_operator_is_registered_for_cuda(cuda):
    def registered(name: str) -> bool:
        return torch._C._dispatch_has_kernel_for_dispatch_key(f'mmconvnext::{name}', 'CUDA')

    made_of_others = {'fold', 'mlp', 'mlp_backward'}
    assert {name for name in OF_MAPS if not registered(name)} == made_of_others


def test_kernels_are_launched_on_the_device_of_their_input(cuda, monkeypatch):
    current = []

    @contextlib.contextmanager
    def device_of(x):
        current.append(x)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, 'device_of', device_of)
    x = torch.zeros(2)
    call = cuda._on_its_device(lambda *args: (args, *current))
    assert call(x, 3, None) == ((x, 3, None), x) and not current


# V1, V2, and GRN beside layer scale: in float32 with a dropped sample, under autocast with none.
@pytest.mark.parametrize(
    ('keep', 'autocast'), [([0, 1], False), ([1, 1], True)], ids=['float32', 'autocast']
)
@pytest.mark.parametrize(
    ('grn', 'scale'), [(False, 1.0), (True, 0.0), (True, 1.0)], ids=['v1', 'v2', 'both']
)
def test_block_on_triton_kernels_is_the_plain_block(
    grn, scale, keep, autocast, kernels, cuda, monkeypatch
):
    own = {name: getattr(kernels, name) for name in kernels.__all__}
    own |= {name: getattr(cuda, name) for name in ('scale_linear', 'scale_linear_backward')}
    use_operators(composed(**own), monkeypatch)
    options = dict(grn=grn, layer_scale_init_value=scale, drop_path_rate=0.4)
    plain, fast = (
        ConvNeXtBlock(8, Design(), kernels=k, **options).to(DEVICE) for k in ('plain', 'fast')
    )
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    fast.load_state_dict(plain.state_dict())
    exact = copy.deepcopy(plain).double()
    x, grad = torch.randn(2, 2, 8, 5, 4, device=DEVICE)
    results = []
    for block in (plain, fast, exact):
        monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.tensor(keep, dtype=torch.bool))
        leaf = x.clone().to(block.norm.weight.dtype).requires_grad_()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast and block is not exact):
            out = block(leaf)
        out.backward(grad.to(out.dtype))
        results.append([out.detach(), leaf.grad, *(p.grad for p in block.parameters())])
    # Under autocast plain itself is up to 0.042 off here: on one thread torch's layer norm sums the
    # gradient of its weight in bfloat16.
    bound = 3e-2 if autocast else 1e-5
    for found, like, expected in zip(results[1], *results[::2]):
        assert found.dtype == like.dtype
        assert (found - expected).abs().max() < bound * expected.abs().max()
