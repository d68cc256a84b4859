# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the fused block equals the plain one, value and gradient, whatever samples are kept."""

import copy
import threading
import time

import pytest
import torch
from mmengine.analysis import get_model_complexity_info
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from mmconvnext import ConvNeXt
from mmconvnext.kernels import block as kernels_block
from mmconvnext.kernels.ops import OPS, capability, mlp
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
ARCH = dict(depths=[1, 1, 2, 1], channels=[8, 24, 40, 96])


def pair(version: str, **options) -> tuple[ConvNeXt, ConvNeXt]:
    """Plain and fast, with equal random weights; layer scale is about 1 so that branches count."""
    if version != 'v2':
        options['layer_scale_init_value'] = 1.0
    version = 'v2' if version == 'both' else version  # GRN and layer scale
    plain = ConvNeXt(ARCH, version, kernels='plain', **options)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    fast = ConvNeXt(ARCH, version, kernels='fast', **options)
    fast.load_state_dict(plain.state_dict())
    return plain, fast


def block_pair(grn: bool = False, **options) -> tuple[ConvNeXtBlock, ConvNeXtBlock]:
    options.setdefault('layer_scale_init_value', 0.0 if grn else 1.0)
    plain = ConvNeXtBlock(24, Design(), grn=grn, kernels='plain', **options)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    fast = ConvNeXtBlock(24, Design(), grn=grn, kernels='fast', **options)
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


@pytest.mark.parametrize('version', ['v1', 'v2', 'both'])
@pytest.mark.parametrize('drop_path_rate', [0.0, 0.5])
@pytest.mark.parametrize('size', [(2, 70, 66), (1, 64, 64), (5, 33, 50)], ids=str)
def test_same_maps_and_gradients(size, drop_path_rate, version):
    plain, fast = pair(version, drop_path_rate=drop_path_rate)
    image = torch.randn(size[0], 3, *size[1:])
    weights = weights_of(plain, image)
    compare(run(plain, image, weights), run(fast, image, weights), 1e-5)


@pytest.mark.parametrize('version', ['v1', 'v2', 'both'])
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
    plain, fast = block_pair(grn, drop_path_rate=0.4)
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


@pytest.mark.parametrize('version', ['v1', 'v2', 'both'])
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


def _step(model: ConvNeXt, **options) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(model.parameters(), lr=0.1, **options).step()


def _weight(model: ConvNeXt) -> torch.Tensor:
    return model.stages[0][0].pwconv2.weight


CHANGES = {
    'fused optimizer': lambda model: _step(model, fused=True),
    'foreach optimizer': lambda model: _step(model, foreach=True),
    'one number of .data': lambda model: _weight(model).data[3, 5].add_(9),
    'one number': lambda model: _weight(model).detach()[3, 5].add_(9),
    'swap of .data': lambda model: [p.data.copy_(p.data.flip(0)) for p in model.parameters()],
    'new .data': lambda model: [setattr(p, 'data', p.data * 1.5) for p in model.parameters()],
    'load_state_dict': lambda model: model.load_state_dict(pair(model.version)[0].state_dict()),
    'assign': lambda model: model.load_state_dict(pair(model.version)[0].state_dict(), assign=True),
    'to': lambda model: model.double().bfloat16().float(),
    'numpy': lambda model: model.stages[0][0].norm.weight.detach().numpy().fill(2),
    'new parameter': lambda model: setattr(
        model.stages[0][0].pwconv1, 'weight', torch.nn.Parameter(torch.ones(32, 8))
    ),
}


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('change', CHANGES)
def test_what_fuse_keeps_is_never_stale(change, version):
    _, fast = pair(version)
    fast.fuse()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = fast(image)
        fast(image)
    torch.manual_seed(1)
    CHANGES[change](fast)
    plain = ConvNeXt(ARCH, version, kernels='plain').eval()
    plain.load_state_dict(fast.state_dict(), assign=True)
    with torch.no_grad():
        for a, b, old in zip(plain(image), fast(image), before):
            assert error(b, a) < 1e-5 and (change == 'to' or error(old, a) > 1e-5)


def test_what_fuse_keeps_goes_by_the_type_of_the_branch():
    plain, fast = pair('v1')
    fast.fuse()
    plain.eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for enabled in (False, True, False, True):
            with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
                bound = 3e-2 if enabled else 1e-5
                assert all(error(b, a) < bound for a, b in zip(plain(image), fast(image)))
        for model in (plain, fast):
            model.bfloat16()
        maps = fast(image.bfloat16()), plain(image.bfloat16())
        assert all(error(b.float(), a.float()) < 3e-2 for a, b in zip(*maps))


def test_training_ends_what_fuse_keeps():
    _, fast = pair('v1')
    fast.fuse()
    with torch.no_grad():
        fast(torch.randn(1, 3, 32, 32))
    assert fast.stages[0][0]._folded
    assert not fast.training and fast.train().stages[0][0]._folded is None


def test_inference_beside_a_thread_that_trains_and_fuses():
    _, fast = block_pair()
    x, expected = torch.randn(1, 24, 8, 8), []
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            fast.fuse()
            fast._folded = None
            time.sleep(1e-5)  # otherwise the other thread hardly gets a turn

    thread = threading.Thread(target=switch)
    thread.start()
    try:
        with torch.no_grad():
            for _ in range(200):
                expected.append(fast(x))
    finally:
        stop.set()
        thread.join()
    assert all(torch.equal(expected[0], other) for other in expected)


@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
def test_a_second_derivative_is_refused(grn):
    plain, fast = block_pair(grn)
    x = torch.randn(2, 24, 9, 8, requires_grad=True)

    def penalty(block) -> torch.Tensor:
        (grad,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
        return grad.square().sum()

    assert error(penalty(fast).detach(), penalty(plain).detach()) < 1e-5  # the first is as ever
    penalty(plain).backward()
    with pytest.raises(RuntimeError, match="no second derivative .* kernels='plain'"):
        penalty(fast).backward()
    with pytest.raises(RuntimeError, match='no second derivative'):
        torch.autograd.functional.hessian(lambda t: fast(t).square().sum(), x[:1, :, :2, :2])
    for source in (x, fast.pwconv1.weight):  # which an unused source would not reach
        (grad,) = torch.autograd.grad(fast(x).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match='no second derivative'):
            torch.autograd.grad(grad.sum(), source, allow_unused=True)


def test_transforms_of_gradients_are_refused():
    """They cannot see into the operators, and would treat what they cannot see as constant."""
    _, fast = block_pair()
    x = torch.randn(2, 24, 5, 4, requires_grad=True)
    out = fast(x)
    grads = torch.stack([torch.ones_like(out)] * 2)
    refused = pytest.raises(RuntimeError, match='no second derivative')
    with refused:
        torch.autograd.grad(out, x, grads, is_grads_batched=True, create_graph=True)
    with refused:
        torch.func.jvp(
            lambda g: torch.autograd.grad(out, x, g, retain_graph=True)[0], (grads[0],), (grads[1],)
        )
    with refused, forward_ad.dual_level():
        torch.autograd.grad(out, x, forward_ad.make_dual(grads[0], grads[1]))
    with refused:
        torch.func.grad(
            lambda g: torch.autograd.grad(out, x, g, retain_graph=True)[0].square().sum()
        )(grads[0])
    with refused:
        torch.func.vmap(lambda g: torch.autograd.grad(out, x, g, create_graph=True)[0])(grads)


@pytest.mark.parametrize('source', ['x', 'grad', 'pwconv1.weight', 'gamma', 'dwconv.bias'])
def test_a_second_derivative_by_any_source_is_refused(source):
    """Also where it is allowed to be unused: it would be zero."""
    _, block = block_pair()
    x, grad = torch.randn(2, 2, 24, 5, 4)
    sources = {'x': x, 'grad': grad, **dict(block.named_parameters())}
    for name, tensor in sources.items():
        tensor.requires_grad_(name == source)
    wanted = sources[source] if source != 'grad' else x.requires_grad_()
    (first,) = torch.autograd.grad(block(x), wanted, grad, create_graph=True)
    with pytest.raises(RuntimeError, match='no second derivative'):
        torch.autograd.grad(first.sum(), sources[source], allow_unused=True)


def test_a_dropped_branch_has_a_second_derivative(monkeypatch):
    for block in block_pair(drop_path_rate=0.5):
        monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.zeros(n, dtype=torch.bool))
        x = torch.randn(2, 24, 5, 4, requires_grad=True)
        weight = torch.randn(2, 24, 5, 4, requires_grad=True)
        (first,) = torch.autograd.grad(block(x), x, weight, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), weight)
        assert torch.equal(first, weight) and torch.equal(second, 2 * weight)


def test_the_result_is_no_view():
    for block in block_pair(drop_path_rate=0.5):
        x = torch.randn(2, 24, 5, 4, requires_grad=True)
        block(x).detach_()
        with torch.no_grad():
            out = block.eval()(x)
        scale = torch.ones(1, requires_grad=True)
        out.mul_(scale).sum().backward()
        assert scale.grad is not None


def test_gradients_share_no_memory_with_those_given(monkeypatch):
    for block in block_pair(drop_path_rate=0.5):
        monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.zeros(n, dtype=torch.bool))
        x = torch.randn(2, 24, 5, 4).to(memory_format=torch.channels_last).requires_grad_()
        given = torch.ones_like(x)
        (grad,) = torch.autograd.grad(block(x), x, given)
        grad.zero_()
        assert given.all()


def test_saved_tensors_may_come_back_with_other_strides():
    results = []
    for block in block_pair():
        x = torch.randn(2, 24, 9, 8, generator=torch.Generator().manual_seed(0))
        x.requires_grad_()
        hooks = (lambda t: t, lambda t: t.mT.contiguous().mT if t.ndim > 1 else t)
        with torch.autograd.graph.saved_tensors_hooks(*hooks):
            out = block(x)
        out.square().sum().backward()
        results.append(x.grad)
    assert error(results[1], results[0]) < 1e-5


def test_an_overflow_is_not_hidden():
    for block in block_pair():
        assert block(torch.randn(1, 24, 5, 5) * 1e20).isnan().any()


def test_float32_is_as_exact_as_the_plain_path_on_wide_blocks():
    options = dict(layer_scale_init_value=1.0)
    x = torch.randn(1, 768, 6, 6)
    blocks = [ConvNeXtBlock(768, Design(), kernels=k, **options) for k in ('plain', 'fast')]
    blocks[1].load_state_dict(blocks[0].state_dict())
    exact = copy.deepcopy(blocks[0]).double()
    with torch.no_grad():
        branch = exact(x.double()) - x.double()
        plain, fast = ((b(x).double() - x.double() - branch).norm() for b in blocks)
    assert fast < 1.5 * plain


def test_a_batch_of_gradients():
    x = torch.randn(2, 24, 9, 8, requires_grad=True)
    results = []
    for block in block_pair(drop_path_rate=0.0):
        out = block(x)
        grads = torch.stack([torch.ones_like(out), out.detach()])
        inputs = [x, *block.parameters()]
        results.append(torch.autograd.grad(out, inputs, grads, is_grads_batched=True))
    for found, expected in zip(results[1], results[0]):
        assert found.shape == expected.shape and error(found, expected) < 1e-5


@pytest.mark.parametrize('keep', [[1, 1], [1, 0], [0, 0]], ids=str)
def test_writing_to_the_result_does_not_write_to_the_input(keep, monkeypatch):
    for block in block_pair(drop_path_rate=0.5):
        monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.tensor(keep, dtype=torch.bool))
        x = torch.randn(2, 24, 5, 5, requires_grad=True)
        before = x.detach().clone()
        block(x).mul_(0.5).relu_().sum().backward()
        assert torch.equal(x.detach(), before) and x.grad is not None


SHAPES = {
    'no image': lambda: torch.randn(0, 24, 8, 8),
    'one pixel': lambda: torch.randn(3, 24, 1, 1),
    'one row': lambda: torch.randn(2, 24, 1, 37),
    'one column': lambda: torch.randn(2, 24, 37, 1),
    'channels last': lambda: torch.randn(2, 24, 7, 5).to(memory_format=torch.channels_last),
    'turned': lambda: torch.randn(2, 24, 7, 5).transpose(2, 3),
    'every second pixel': lambda: torch.randn(2, 24, 14, 10)[:, :, ::2, ::2],
    'one image for all': lambda: torch.randn(1, 24, 7, 5).expand(3, -1, -1, -1),
}


@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('drop_path_rate', [0.0, 0.5])
def test_any_shape_and_strides(shape, grn, drop_path_rate):
    results = []
    x = SHAPES[shape]()
    for block in block_pair(grn, drop_path_rate=drop_path_rate):
        torch.manual_seed(0)
        leaf = x.detach().requires_grad_()
        out = block(leaf)
        out.sum().backward()
        grads = [p.grad for p in block.parameters()]
        with torch.no_grad():
            maps = [out.detach(), block.eval()(x)]
        results.append([*maps, leaf.grad, *grads])
    for found, expected in zip(results[1], results[0]):
        assert found.shape == expected.shape
        assert not found.numel() or error(found, expected) < 2e-5


@pytest.mark.parametrize('size', [(0, 8), (8, 0)], ids=str)
def test_images_without_pixels_are_refused_alike(size):
    for block in block_pair():
        with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input"):
            block(torch.randn(2, 24, *size))


@pytest.mark.parametrize('training', [False, True])
def test_a_backbone_takes_no_images(training):
    rows = [(8, 16), (24, 8), (40, 4), (96, 2)]
    for version in ('v1', 'v2'):
        for model in pair(version, drop_path_rate=0.4):
            maps = model.train(training)(torch.zeros(0, 3, 64, 96))
            assert [tuple(m.shape[:3]) for m in maps] == [(0, c, s) for c, s in rows]


def test_counters_of_operations_count_the_layers():
    results = []
    for model in pair('v1'):
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, 64, 64))
        results.append(counter.get_total_flops())
        counts = get_model_complexity_info(model, (3, 64, 64), show_table=False, show_arch=False)
        results.append((counts['flops'], counts['activations'], counts['params']))
    assert results[:2] == results[2:] and results[0] > 1e6


@pytest.mark.parametrize('keep', [[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], ids=str)
@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
def test_a_dropped_samples_branch_is_not_computed(grn, keep, monkeypatch):
    _, block = block_pair(grn, drop_path_rate=0.5)
    monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.tensor(keep, dtype=torch.bool))
    rows = {}

    class Counted:
        def __getattr__(self, name):
            def run(first, *args, **options):
                rows[name] = first.numel() // first.shape[-1]
                return getattr(OPS, name)(first, *args, **options)

            return run

    for module in (kernels_block, mlp):
        monkeypatch.setattr(module, 'OPS', Counted())
    block(torch.randn(4, 24, 8, 8, requires_grad=True)).sum().backward()
    names = {'dwconv_norm', 'mlp', 'mlp_backward', 'dwconv_norm_backward'}
    assert rows == ({name: 64 * sum(keep) for name in names} if any(keep) else {})


@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
def test_hidden_maps_of_early_stages_are_computed_again_and_not_kept(grn):
    def kept(side: int) -> float:
        """Elements saved for the backward pass that grow with the map, relative to the input's."""
        sizes, x = [], torch.randn(1, 24, side, side, requires_grad=True)
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        )
        with hooks:
            fast(x)
        return (sum(sizes) - weights) / x.numel()

    _, fast = block_pair(grn)
    weights = sum(p.numel() for p in fast.parameters())
    late, early = kept(13), kept(14)  # 169 and 196 pixels, for 8 * 24 = 192
    assert late > 6 - 0.1 and early < 3.2  # x, its norm, 1 / std of each pixel, 4 hidden maps


def _derivative(block: ConvNeXtBlock, x: torch.Tensor) -> torch.Tensor:
    def loss(parameters: dict) -> torch.Tensor:
        return functional_call(block, parameters, (x,)).square().sum()

    return torch.func.grad(loss)(dict(block.named_parameters()))['pwconv1.weight']


def _forward_mode(block: ConvNeXtBlock, x: torch.Tensor) -> torch.Tensor:
    with forward_ad.dual_level():
        out = block(forward_ad.make_dual(x, torch.ones_like(x)))
        return forward_ad.unpack_dual(out).tangent


TRANSFORMS = {
    'grad': _derivative,
    'jvp': lambda block, x: torch.func.jvp(block, (x,), (torch.ones_like(x),))[1],
    'vmap': lambda block, x: torch.func.vmap(block)(x[:, None]),
    'jacrev': lambda block, x: torch.func.jacrev(lambda t: block(t).sum((2, 3)))(x),
    'forward mode': _forward_mode,
    'functional_call': lambda block, x: functional_call(
        block, {n: p * 2 for n, p in block.named_parameters()}, (x,)
    ),
}


@pytest.mark.parametrize('transform', TRANSFORMS)
@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
def test_transforms_of_functions(transform, grn):
    x = torch.randn(2, 24, 5, 4)
    plain, fast = (TRANSFORMS[transform](block, x) for block in block_pair(grn))
    assert error(fast.detach(), plain.detach()) < 1e-5


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
