# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: each of our modules, from a layer to the backbone, passes what torch's own suite checks
for torch's modules: copies, types, devices, strides, unchanged inputs, exact gradients.

That suite (`test_modules.py`) is not part of torch's packages, so its checks are repeated here.
"""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmconvnext.models import ConvNeXt
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design
from mmconvnext.models.layers import Downsample, DropPath, GlobalResponseNorm, LayerNorm2d

ARCH = dict(depths=[1, 1], channels=[4, 8])
MODULES = {
    'LayerNorm2d': (lambda: LayerNorm2d(4, eps=1e-2), (2, 4, 5, 3)),
    'GlobalResponseNorm': (lambda: GlobalResponseNorm(4), (2, 5, 3, 4)),
    'DropPath': (lambda: DropPath(0.5), (2, 4, 5, 3)),
    'Downsample': (lambda: Downsample(4, 6, Design()), (2, 4, 5, 4)),
    'Downsample of a row': (lambda: Downsample(4, 6, Design(norm='BN')), (2, 4, 1, 5)),
    'block V1': (lambda: ConvNeXtBlock(4, Design(), layer_scale_init_value=1.0), (2, 4, 5, 3)),
    'block V2': (lambda: ConvNeXtBlock(4, Design(), grn=True), (2, 4, 5, 3)),
    'block between': (
        lambda: ConvNeXtBlock(4, Design(norm='BN', act='SiLU', spatial_first=False)),
        (2, 4, 5, 3),
    ),
    'ConvNeXt V1': (lambda: ConvNeXt(ARCH, layer_scale_init_value=1.0), (2, 3, 16, 9)),
    'ConvNeXt V2': (lambda: ConvNeXt(ARCH, 'v2'), (2, 3, 16, 9)),
}
DEVICES = ['meta', *(['cuda'] if torch.cuda.is_available() else [])]


@pytest.fixture(params=MODULES)
def case(request) -> tuple[nn.Module, torch.Tensor]:
    """A module none of whose parameters is trivial, and an input."""
    make, shape = MODULES[request.param]
    module = make()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module, torch.randn(shape)


def run(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Outputs as a tuple, with the same samples dropped each time."""
    torch.manual_seed(2)
    out = module(x)
    return out if isinstance(out, tuple) else (out,)


def gradients(module: nn.Module, x: torch.Tensor, memory: str = 'contiguous') -> list[torch.Tensor]:
    """Outputs, and gradients of the input and the parameters."""
    leaf = x.detach().requires_grad_()
    module.zero_grad()
    outputs = run(module, leaf)
    generator = torch.Generator().manual_seed(5)
    grads = [torch.randn(out.shape, generator=generator).to(out) for out in outputs]
    if memory == 'strided':
        grads = [strided(grad) for grad in grads]
    torch.autograd.backward(outputs, grads)
    found = [out.detach() for out in outputs]
    return [*found, leaf.grad, *(p.grad.clone() for p in module.parameters())]


def strided(x: torch.Tensor) -> torch.Tensor:
    """The same values, as every second element of a larger tensor."""
    return torch.stack([x, torch.full_like(x, float('nan'))], dim=-1)[..., 0]


def assert_close(found, expected) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('clone', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same(case, clone):
    module, x = case
    other = clone(module)
    assert repr(other) == repr(module)
    assert all(torch.equal(a, b) for a, b in zip(gradients(other, x), gradients(module, x)))


def test_the_input_is_left_alone(case):
    module, x = case
    before = x.clone()
    gradients(module, x)
    with torch.no_grad():
        run(module.eval(), x)
    assert torch.equal(x, before)


def test_inputs_and_gradients_of_any_strides(case):
    module, x = case
    expected = gradients(copy.deepcopy(module), x)
    assert_close(gradients(copy.deepcopy(module), strided(x), 'strided'), expected)
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert_close(gradients(copy.deepcopy(module), turned), expected)


def test_memory_formats(case):
    module, x = case
    expected = gradients(copy.deepcopy(module), x)
    last = x.to(memory_format=torch.channels_last)
    assert_close(gradients(copy.deepcopy(module), last), expected)
    module.to(memory_format=torch.channels_last)
    assert_close(gradients(module, last), expected)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16], ids=str)
def test_types(case, dtype):
    module, x = case
    expected = run(module.eval(), x)
    found = run(module.to(dtype), x.to(dtype))
    assert {out.dtype for out in found} == {dtype}
    assert all(p.dtype == dtype for p in module.parameters())
    bound = 1e-4 if dtype == torch.float64 else 0.2
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.float(), b, rtol=bound, atol=bound)
    assert_close(run(module.float(), x), expected if dtype == torch.float64 else run(module, x))


@pytest.mark.parametrize('device', DEVICES)
def test_devices(case, device):
    module, x = case
    expected = gradients(copy.deepcopy(module), x)
    found = gradients(module.to(device), x.to(device))
    assert {t.device.type for t in found} == {device}
    assert [(t.shape, t.dtype) for t in found] == [(t.shape, t.dtype) for t in expected]
    if device != 'meta':
        assert_close([t.cpu() for t in found], expected)


def test_evaluation_differs_from_training_only_by_what_is_named(case):
    """Dropped samples and the statistics of batch norms."""
    module, x = case
    trained, evaluated = run(module.train(), x), run(module.eval(), x)
    kinds = (nn.BatchNorm2d, DropPath)
    named = any(isinstance(m, kinds) and getattr(m, 'rate', 1) > 0 for m in module.modules())
    same = all(torch.allclose(a, b, atol=1e-4) for a, b in zip(trained, evaluated))
    assert same != named
    assert all(torch.equal(a, b) for a, b in zip(run(module, x), evaluated))


@pytest.mark.parametrize('training', [True, False])
def test_first_and_second_derivatives(case, training):
    """In float64, by differences; the fast path has no float64."""
    module, x = case
    module.double().train(training)
    names, parameters = zip(*module.named_parameters()) if [*module.parameters()] else ((), ())

    def compute(x, *values):
        torch.manual_seed(2)
        return torch.func.functional_call(module, dict(zip(names, values)), (x,))

    inputs = (x.double().requires_grad_(), *parameters)
    assert torch.autograd.gradcheck(compute, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(compute, inputs, fast_mode=True)
