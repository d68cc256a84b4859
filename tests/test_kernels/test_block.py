# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the fused block is the plain one, in value and gradient, whatever samples are kept."""

import copy

import pytest
import torch

from mmconvnext import ConvNeXt
from mmconvnext.kernels.ops import capability
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
ARCH = dict(depths=[1, 1, 2, 1], channels=[8, 24, 40, 96])


def pair(version: str, **options) -> tuple[ConvNeXt, ConvNeXt]:
    """Plain and fast, of the same random weights; layer scale is about 1 so that branches count."""
    if version == 'v1':
        options['layer_scale_init_value'] = 1.0
    plain = ConvNeXt(ARCH, version, kernels='plain', **options)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    fast = ConvNeXt(ARCH, version, kernels='fast', **options)
    fast.load_state_dict(plain.state_dict())
    return plain, fast


def run(model: ConvNeXt, image: torch.Tensor, weights: list, amp: bool = False) -> tuple:
    """Maps and all gradients, with the same samples dropped each time."""
    image = image.clone().requires_grad_()
    torch.manual_seed(3)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=amp):
        maps = model(image)
    loss = sum((m.float() * w).sum() for m, w in zip(maps, weights))
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    return [m.detach().float() for m in maps], {'image': image.grad, **grads}


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)).item()


def compare(plain: tuple, fast: tuple, bound: float) -> None:
    for i, maps in enumerate(zip(fast[0], plain[0])):
        assert error(*maps) < bound, f'map {i}: {error(*maps):.1e}'
    for name, grad in plain[1].items():
        assert fast[1][name] is not None and fast[1][name].dtype == grad.dtype, name
        assert error(fast[1][name], grad) < bound, f'{name}: {error(fast[1][name], grad):.1e}'


def weights_of(model: ConvNeXt, image: torch.Tensor) -> list:
    with torch.no_grad():
        return [torch.randn_like(m) for m in model(image)]


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('drop_path_rate', [0.0, 0.5])
@pytest.mark.parametrize('size', [(2, 70, 66), (1, 64, 64), (5, 33, 50)], ids=str)
def test_same_maps_and_gradients(size, drop_path_rate, version):
    plain, fast = pair(version, drop_path_rate=drop_path_rate)
    image = torch.randn(size[0], 3, *size[1:])
    weights = weights_of(plain, image)
    compare(run(plain, image, weights), run(fast, image, weights), 1e-5)


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_bfloat16_is_as_near_to_float32_as_the_plain_path(version):
    plain, fast = pair(version)
    image = torch.randn(2, 3, 64, 64)
    weights = weights_of(plain, image)
    exact = run(plain, image, weights)
    for model in (plain, fast):
        model.zero_grad()
    half = run(copy.deepcopy(plain), image, weights, amp=True)
    ours = run(fast, image, weights, amp=True)
    for i in range(4):
        assert error(ours[0][i], exact[0][i]) < max(3e-2, 2 * error(half[0][i], exact[0][i]))
    ours_worst = max(error(ours[1][k], exact[1][k]) for k in exact[1])
    half_worst = max(error(half[1][k], exact[1][k]) for k in exact[1])
    assert ours_worst < max(5e-2, 2 * half_worst), (ours_worst, half_worst)


@pytest.mark.parametrize('keep', [[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], ids=str)
@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
def test_dropped_samples_are_left_out_exactly(keep, grn, monkeypatch):
    options = dict(grn=grn, layer_scale_init_value=0.0 if grn else 1.0, drop_path_rate=0.4)
    plain = ConvNeXtBlock(24, Design(), kernels='plain', **options)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    fast = ConvNeXtBlock(24, Design(), kernels='fast', **options)
    fast.load_state_dict(plain.state_dict())
    x, grad = torch.randn(3, 24, 9, 8), torch.randn(3, 24, 9, 8)
    results = []
    for block in (plain, fast):
        monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.tensor(keep, dtype=torch.bool))
        leaf = x.clone().requires_grad_()
        out = block(leaf)
        out.backward(grad)
        results.append((out.detach(), leaf.grad, dict(block.named_parameters())))
    assert error(results[1][0], results[0][0]) < 1e-5
    assert error(results[1][1], results[0][1]) < 1e-5
    for name, parameter in results[0][2].items():
        found = results[1][2][name].grad
        assert found is not None, f'{name}: zeros are due, which AdamW and DDP wait for'
        assert error(found, parameter.grad) < 1e-5 or not any(keep)
        assert any(keep) or not found.any()


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_activation_checkpointing(version):
    plain, fast = pair(version, drop_path_rate=0.5, with_cp=True)
    image = torch.randn(2, 3, 64, 64)
    weights = weights_of(plain, image)
    compare(run(plain, image, weights), run(fast, image, weights), 1e-5)


def test_frozen_and_partly_frozen_blocks():
    plain, fast = pair('v1', frozen_stages=2)
    image = torch.randn(1, 3, 64, 64)
    weights = weights_of(plain, image)
    image.requires_grad_(False)
    for model in (plain, fast):
        model.stages[2][0].pwconv1.requires_grad_(False)
        maps = model(image)
        sum((m * w).sum() for m, w in zip(maps, weights)).backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), fast.named_parameters()):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or error(b.grad, a.grad) < 1e-5, name


def test_parameters_and_their_names_are_the_same():
    plain, fast = pair('v2')
    assert list(plain.state_dict()) == list(fast.state_dict())


def test_infinitesimal_and_constant_maps_have_finite_gradients():
    plain, fast = pair('v2')
    image = torch.zeros(1, 3, 32, 32)
    weights = weights_of(plain, image)
    _, grads = run(fast, image, weights)
    assert all(g.isfinite().all() for g in grads.values())


@pytest.mark.parametrize('fuse', [False, True])
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_inference_follows_the_parameters(version, fuse):
    plain, fast = (model.eval() for model in pair(version))
    if fuse:
        fast = fast.fuse().eval()  # which every test loop calls once more
    image = torch.randn(2, 3, 70, 66)
    for _ in range(3):
        with torch.no_grad():
            for a, b in zip(plain(image), fast(image)):
                assert error(b, a) < 1e-5
            for model in (plain, fast):  # as an optimizer or load_state_dict does
                model.stages[1][0].pwconv1.weight.mul_(1.5)
                model.stages[2][0].norm.bias.add_(0.5)
    fast.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        assert all(error(b, a) < 1e-5 for a, b in zip(plain(image), fast(image)))


def test_training_ends_what_fuse_keeps():
    _, fast = pair('v1')
    block = fast.fuse().stages[0][0]
    with torch.no_grad():
        fast(torch.randn(1, 3, 32, 32))
        fast(torch.randn(1, 3, 32, 32).bfloat16().float())
    assert set(block._folded) == {torch.float32}
    assert not fast.training and fast.train().stages[0][0]._folded is None


def test_compiled_model_takes_the_plain_path_and_agrees():
    plain, fast = pair('v1')
    compiled = torch.compile(fast, backend='eager', fullgraph=True)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(plain(image), compiled(image)):
            assert error(b, a) < 1e-5


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_exported_model_takes_the_plain_path_and_any_batch(version):
    _, fast = pair(version)
    fast.eval()
    batch = torch.export.Dim('batch', min=1, max=8)
    image = torch.randn(2, 3, 64, 96)
    program = torch.export.export(fast, (image,), dynamic_shapes={'x': {0: batch}}).module()
    image = torch.randn(3, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(fast(image), program(image), strict=True):
            assert error(b, a) < 1e-5


def test_ablations_take_the_plain_path():
    model = ConvNeXt(ARCH, design=dict(kernel_size=5), kernels='fast')
    assert {block.kernels for stage in model.stages for block in stage} == {'plain'}
