# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a block on the fast path takes its settings, types and samples from the block, stores
no more than asked, and folds its weights again exactly when they have changed.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.parameters import Parameters
from mmconvnext.models import fast_path
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design
from mmconvnext.models.fast_path import needs_gradients
from mmconvnext.models.fusion import parameters_of

compiled = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
C = 16


def make(kernels: str = 'fast', grn: bool = True, scale: float = 0.5, **options) -> ConvNeXtBlock:
    torch.manual_seed(0)
    block = ConvNeXtBlock(
        C, Design(), grn=grn, layer_scale_init_value=scale, kernels=kernels, **options
    )
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return block


def epsilons(block: ConvNeXtBlock) -> None:
    block.norm.eps, block.grn.eps = 0.3, 0.7


# Options of the block, a change to it, and which of five samples keep their branch.
CALLS = {
    'V1': (dict(grn=False), None, [1, 1, 1, 1, 1]),
    'V2': (dict(scale=0.0), None, [1, 1, 1, 1, 1]),
    'epsilons': ({}, epsilons, [1, 1, 1, 1, 1]),
    'some are dropped': (dict(drop_path_rate=0.4), None, [0, 1, 1, 0, 1]),
    'all are kept': (dict(drop_path_rate=0.4), None, [1, 1, 1, 1, 1]),
    'all are dropped': (dict(drop_path_rate=0.4), None, [0, 0, 0, 0, 0]),
    'evaluation': (dict(drop_path_rate=0.4), nn.Module.eval, [0, 1, 1, 0, 1]),
}


@compiled
@pytest.mark.parametrize('gradients', [True, False], ids=['gradients', 'none'])
@pytest.mark.parametrize('case', CALLS)
def test_a_call_is_the_plain_one(case, gradients, monkeypatch):
    options, change, keep = CALLS[case]
    monkeypatch.setattr(
        'mmconvnext.models.layers._kept', lambda *_: torch.tensor(keep, dtype=torch.bool)
    )
    x, weight, results = torch.randn(5, C, 6, 9), torch.randn(5, C, 6, 9), []
    for kernels in ('plain', 'fast'):
        block, leaf = make(kernels, **options), x.clone().requires_grad_(gradients)
        if change:
            change(block)
        with torch.set_grad_enabled(gradients):
            out = block(leaf)
        assert out.requires_grad == gradients and out.shape == x.shape
        results.append([out.detach()])
        if gradients:
            (out * weight).sum().backward()
            results[-1] += [leaf.grad, *(p.grad for p in block.parameters())]
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


HALF, FULL = torch.bfloat16, torch.float32


@compiled
@pytest.mark.parametrize('scale', [0.0, 0.5], ids=['no layer scale', 'layer scale'])
@pytest.mark.parametrize('gradients', [True, False], ids=['gradients', 'none'])
@pytest.mark.parametrize(
    ('parameters', 'given', 'autocast'),
    [(FULL, FULL, False), (HALF, HALF, False), *((FULL, t, True) for t in (FULL, HALF))],
    ids=str,
)
def test_the_type_is_that_of_the_plain_path(parameters, given, autocast, gradients, scale):
    x, outs = torch.randn(2, C, 5, 7).to(given), []
    for kernels in ('plain', 'fast'):
        block = make(kernels, scale=scale).to(parameters)
        with torch.autocast('cpu', HALF, enabled=autocast), torch.set_grad_enabled(gradients):
            outs.append(block(x))
    assert outs[0].dtype == outs[1].dtype
    torch.testing.assert_close(*outs, rtol=0.05, atol=0.05)


@pytest.mark.parametrize('field', ['x', *Parameters._fields])
def test_one_tensor_that_trains_is_enough_to_need_gradients(field):
    p, x = parameters_of(make('plain').requires_grad_(False)), torch.zeros(1, C, 2, 2)
    assert not needs_gradients(x, p)
    (x if field == 'x' else getattr(p, field)).requires_grad_()
    assert needs_gradients(x, p)
    with torch.no_grad():
        assert not needs_gradients(x, p)


@compiled
def test_checkpointing_keeps_the_input_alone():
    x = torch.randn(2, C, 16, 12, requires_grad=True)

    def kept(**options) -> int:
        block, sizes = make(**options).requires_grad_(False), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        ):
            block(x)
        return sum(sizes)

    assert kept(with_cp=True) <= x.numel() < kept() / 2


@compiled
def test_fuse_folds_once_for_each_state_and_type(monkeypatch):
    folded, real = [], fast_path.fold
    monkeypatch.setattr(
        fast_path, 'fold', lambda p, options: folded.append(options.dtype) or real(p, options)
    )
    block, x = make().eval(), torch.randn(1, C, 5, 7)

    @torch.no_grad()
    def folds(calls: int = 2, autocast: bool = False) -> list[torch.dtype]:
        folded.clear()
        for _ in range(calls):
            with torch.autocast('cpu', HALF, enabled=autocast):
                block(x)
        return list(folded)

    assert folds() == [FULL, FULL]
    block.fuse()
    assert folds() == [FULL] and folds() == []
    assert folds(autocast=True) == [HALF] and folds(autocast=True) == folds() == []
    # Whichever of the folded tensors changes: all but the spatial convolution.
    for name, parameter in block.named_parameters():
        with torch.no_grad():
            parameter.mul_(1.5)
        assert folds() == ([] if name.startswith('dwconv') else [FULL]), name
    block.gamma = None
    assert folds() == [FULL]
    block.eval()
    assert folds() == []
    block.train()
    block.eval()
    assert folds() == [FULL, FULL]


def test_nothing_is_kept_on_other_devices(monkeypatch):
    """Reading the parameters there would make the CPU wait."""
    monkeypatch.setattr(fast_path, 'fold', lambda p, options: 'folded')
    block = SimpleNamespace(_folded={})
    p = SimpleNamespace(pwconv1_weight=SimpleNamespace(device=torch.device('cuda')))
    assert fast_path._folded(block, p, None) == 'folded' and block._folded == {}
