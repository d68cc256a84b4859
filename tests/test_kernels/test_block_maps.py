# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: on zero, constant, huge and tiny maps, and on any size, the block gives the plain one's
values and gradients, whatever operators a device has; and it computes no more than was asked for.

Only the cases named 'compiled' need the compiled library.
"""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmconvnext.kernels import block as block_module
from mmconvnext.kernels.block import FusedBlock, infer
from mmconvnext.kernels.ops import mlp as mlp_module
from mmconvnext.kernels.ops.fold import branch_scale, fold
from mmconvnext.kernels.parameters import Options, Parameters
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design
from mmconvnext.models.fusion import NAMES, parameters_of


def random(*size: int) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


VERSIONS = {'v1': (False, 1.0), 'v2': (True, 0.0), 'both': (True, 1.0)}  # GRN; layer scale
# Name: the map, and whether the biases before the activation are zero, so that a map of zeros
# stays one up to GRN.
MAPS = {
    'zeros': (torch.zeros(2, 4, 3, 2), True),
    'an image of zeros': (torch.tensor([0.0, 1.0]).view(2, 1, 1, 1) * random(2, 4, 2, 3), True),
    'constant': (torch.full((2, 4, 3, 5), 3.0), False),
    'one pixel': (random(3, 4, 1, 1), False),
    'smaller than the kernel': (random(2, 4, 2, 5), False),
    'higher than wide': (random(1, 6, 11, 8), False),
    'odd channels': (random(2, 7, 5, 9), False),
    'one channel': (random(2, 1, 3, 4), False),
    'tiny': (random(2, 4, 3, 4) * 1e-4, True),
    'huge': (random(2, 4, 3, 4) * 1e15, False),
    'turned': (random(2, 4, 5, 3).transpose(2, 3), False),
    'channels last': (random(2, 4, 5, 3).to(memory_format=torch.channels_last), False),
    'no image': (torch.zeros(0, 4, 3, 4), False),
}
ON_TRITON = {('zeros', 'v2'), ('an image of zeros', 'both'), ('one pixel', 'v1'), ('tiny', 'v2')}
CASES = [
    (way, name, version)
    for way in ('compiled', 'composed', 'triton')
    for name in MAPS
    for version in VERSIONS
    if way != 'triton' or (name, version) in ON_TRITON
]


def pair(version: str, channels: int = 4, quiet: bool = False, **options) -> list[ConvNeXtBlock]:
    """The plain block and the fast one, with equal random weights."""
    grn, scale = VERSIONS[version]
    options |= dict(grn=grn, layer_scale_init_value=scale)
    blocks = [ConvNeXtBlock(channels, Design(), kernels=k, **options) for k in ('plain', 'fast')]
    with torch.no_grad():
        for name, parameter in blocks[0].named_parameters():
            silent = quiet and name in ('dwconv.bias', 'norm.bias', 'pwconv1.bias')
            parameter.add_(torch.randn_like(parameter) * 0.3).mul_(not silent)
    blocks[1].load_state_dict(blocks[0].state_dict())
    return blocks


def run(block: ConvNeXtBlock, x: torch.Tensor, device: str = 'cpu') -> dict[str, torch.Tensor]:
    """Result and gradients in training, and the result without gradients."""
    block.to(device)
    leaf = x.detach().to(device, block.norm.weight.dtype).requires_grad_()
    out = block(leaf)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    out.backward(weights.to(out))
    with torch.no_grad():
        found = {'result': out.detach(), 'without gradients': block(leaf), 'x': leaf.grad}
    found |= {name: p.grad for name, p in block.named_parameters()}
    return {name: t.cpu() for name, t in found.items()}


def assert_same(found: dict, expected: dict, bound: float = 2e-5) -> None:
    assert list(found) == list(expected)
    for name, exact in expected.items():
        value = found[name]
        assert value.shape == exact.shape and value.isfinite().all(), name
        if exact.numel():
            largest = exact.abs().max().clamp(min=1e-3)  # the gradient may be exactly zero
            error = ((value.double() - exact).abs().max() / largest).item()
            assert error < bound, f'{name}: {error:.1e}'


@pytest.mark.parametrize(('operators', 'name', 'version'), CASES, indirect=['operators'])
def test_every_map(operators, device, name, version):
    x, quiet = MAPS[name]
    plain, fast = pair(version, x.shape[1], quiet)
    assert_same(run(fast, x, device), run(plain.double(), x))


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
@pytest.mark.parametrize('name', ['zeros', 'an image of zeros', 'tiny', 'odd channels'])
@pytest.mark.parametrize('version', VERSIONS)
def test_every_map_in_bfloat16(operators, name, version):
    x, quiet = MAPS[name]
    plain, fast = pair(version, x.shape[1], quiet)
    expected = run(copy.deepcopy(plain).double(), x)
    with torch.autocast('cpu', torch.bfloat16):
        found = run(fast, x)
    assert {found[n].dtype for n in ('x', *NAMES) if n in found} == {torch.float32}
    assert_same(found, expected, 6e-2)


@pytest.mark.parametrize('operators', ['compiled', 'composed', 'triton'], indirect=True)
def test_each_epsilon_is_that_of_its_layer(operators, device):
    plain, fast = pair('both')
    for block in (plain, fast):
        block.norm.eps, block.grn.eps = 0.3, 2.0
    x = MAPS['smaller than the kernel'][0]
    assert_same(run(fast, x, device), run(plain.double(), x))


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
@pytest.mark.parametrize('keep', [[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], ids=str)
@pytest.mark.parametrize('version', VERSIONS)
def test_samples_that_are_dropped(operators, keep, version, monkeypatch):
    plain, fast = pair(version, drop_path_rate=0.3)
    x = torch.randn(4, 4, 3, 5) * torch.arange(1.0, 5).view(4, 1, 1, 1)
    for block in (plain, fast):
        monkeypatch.setattr(block.drop_path, 'draw', lambda n: torch.tensor(keep, dtype=torch.bool))
    assert_same(run(fast, x), run(plain.double(), x))


# For a parameter that alone needs a gradient: whether the depthwise layer's, the first and the
# second pointwise layer's products over all pixels are computed.
PRODUCTS = {
    'x': (False, False, False),
    'dwconv.weight': (True, False, False),
    'dwconv.bias': (True, False, False),
    'norm.weight': (False, True, False),
    'norm.bias': (False, True, False),
    'pwconv1.weight': (False, True, False),
    'pwconv1.bias': (False, False, False),
    'pwconv2.weight': (False, False, True),
    'pwconv2.bias': (False, False, False),
    'gamma': (False, False, True),
    'grn.gamma': (False, False, False),
    'grn.beta': (False, False, True),
}


class Spy:
    """Operators that note their arguments."""

    def __init__(self, operators) -> None:
        self.operators, self.given = operators, {}

    def __getattr__(self, name):
        def call(*args, **options):
            self.given[name] = (*args, *options.values())
            return getattr(self.operators, name)(*args, **options)

        return call


@pytest.fixture
def spy(operators, monkeypatch):
    spy = Spy(operators)
    for module in (block_module, mlp_module):
        monkeypatch.setattr(module, 'OPS', spy)
    return spy


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
@pytest.mark.parametrize('name', PRODUCTS)
def test_one_parameter_alone(operators, name, spy):
    plain, fast = pair('both')
    x, grads = torch.randn(2, 4, 3, 5), []
    for block in (plain.double(), fast):
        leaf = x.to(block.norm.weight.dtype)
        inputs = dict(block.named_parameters()) | {'x': leaf}
        for key, tensor in inputs.items():
            tensor.requires_grad_(key == name)
        out = block(leaf)
        out.backward(out.detach().square())
        grads.append(inputs[name].grad)
        assert all((t.grad is not None) == (key == name) for key, t in inputs.items())
    assert_same({name: grads[1]}, {name: grads[0]})
    found = spy.given['dwconv_norm_backward'][-1], *spy.given['mlp_backward'][-2:]
    assert found == PRODUCTS[name]


OPTIONS = Options(eps=1e-6, grn_eps=1e-6, dtype=torch.float32)


def tensors(version: str = 'both', channels: int = 4) -> Parameters:
    return parameters_of(pair(version, channels)[0])


@pytest.mark.parametrize('operators', ['composed'], indirect=True)
@pytest.mark.parametrize(
    ('samples', 'keep', 'width', 'saved'),
    [
        *((1, None, 31, True), (1, None, 32, False)),  # 8 pixels for each of the 4 channels
        *((2, None, 15, True), (2, None, 16, False)),  # of all samples
        *((3, [1, 2], 15, True), (3, [0, 2], 16, False), (9, [8], 31, True)),  # that are kept
    ],
)
def test_hidden_maps_are_kept_for_the_backward_pass_where_they_are_small(
    operators, samples, keep, width, saved
):
    p, rows = tensors(), []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: rows.append(t.shape), lambda t: t)
    with hooks:
        FusedBlock.apply(torch.randn(samples, 1, width, 4), OPTIONS._replace(keep=keep), *p)
    kept = len(keep or range(samples))
    assert (kept * width if saved else 0, 16) in rows
    assert ((0 if saved else kept * width), 16) not in rows


@pytest.mark.parametrize('operators', ['composed'], indirect=True)
def test_neighbouring_samples_are_taken_without_a_copy(operators, spy):
    x = torch.randn(4, 2, 3, 4)
    for keep, copied in [([1, 2], False), ([3], False), ([0, 2], True), (None, False)]:
        FusedBlock.apply(x, OPTIONS._replace(keep=keep), *tensors())
        taken = spy.given['dwconv_norm'][0]
        assert torch.equal(taken, x[slice(None) if keep is None else keep])
        same = taken.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        assert same != copied, keep


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
@pytest.mark.parametrize('keep', [None, [], [1], [0, 2]], ids=str)
def test_results_share_no_memory_with_what_was_given(operators, keep):
    x, p = torch.randn(3, 2, 5, 4), [t.detach() for t in tensors()]
    leaves = [t.requires_grad_() for t in (x, *p)]
    before = [t.detach().clone() for t in leaves]
    out = FusedBlock.apply(x, OPTIONS._replace(keep=keep), *p)
    given = torch.ones_like(out)
    grads = torch.autograd.grad(out, leaves, given)
    for result in (out, *grads):
        result.detach().fill_(7)
    assert all(torch.equal(old, new) for old, new in zip(before, leaves))
    assert (given == 1).all()
    assert len({t.data_ptr() for t in (out, *grads)}) == 1 + len(leaves)


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
def test_autocast_is_the_callers_business(operators):
    """Which type a branch has is in the options; autocast changes no product in it, forward or
    backward."""
    p, x = tensors(), torch.randn(2, 3, 5, 4)
    results = []
    for enabled in (False, True):
        leaves = [t.detach().requires_grad_() for t in (x, *p)]
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            out = FusedBlock.apply(leaves[0], OPTIONS, *leaves[1:])
            out.backward(torch.ones_like(out))
            with torch.no_grad():
                folded = fold(p, OPTIONS)
                inferred = infer(x, p, OPTIONS, folded)
        results.append([out.detach(), inferred, *folded, *(t.grad for t in leaves)])
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
@pytest.mark.parametrize('version', VERSIONS)
def test_folded_weights_are_copies_without_a_graph(operators, version):
    p = tensors(version)
    folded = fold(p, OPTIONS)
    before = [t.clone() for t in folded]
    with torch.no_grad():
        for parameter in p:
            if parameter is not None:
                parameter.add_(1)
    for old, new in zip(before, folded, strict=True):
        assert torch.equal(old, new) and not new.requires_grad
    again = fold(p, OPTIONS)
    assert not any(torch.equal(old, new) for old, new in zip(before, again))


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
@pytest.mark.parametrize('version', VERSIONS)
def test_inference_keeps_no_hidden_map(operators, version, spy):
    p = tensors(version)
    with torch.no_grad():
        found = infer(torch.randn(2, 3, 5, 4), p, OPTIONS, fold(p, OPTIONS))
    assert spy.given['mlp'][-1] is False
    assert found.shape == (2, 4, 3, 5)


@pytest.mark.parametrize('operators', ['compiled', 'composed'], indirect=True)
def test_gradients_of_rows(operators):
    """A hidden map that was kept is not computed again, and sums over rows are float32."""
    p = Parameters(*(t.detach() for t in tensors()))._replace(gamma=None)
    rows, grad = torch.randn(2, 70, 4).bfloat16()
    no_squares, layers = torch.zeros(0, 16), (*p.norm, *p.pwconv1, *p.pwconv2)
    rest = (*layers, None, None, None, 1.0, 0.0, 1)
    asleep = torch.full((70, 16), -100.0).bfloat16()  # where GELU and its slope are zero
    with torch.no_grad():
        found = operators.mlp_backward(grad, rows, asleep, no_squares, *rest)
        again = operators.mlp_backward(grad, rows, asleep[:0], no_squares, *rest)
    assert not any(found[i].any() for i in (0, 1, 2, 3, 4, 5))
    assert all(again[i].any() for i in (0, 1, 2, 3, 4, 5))
    for bias in (found[6], again[6]):
        torch.testing.assert_close(bias.double(), grad.double().sum(0), rtol=1e-5, atol=1e-5)


class Products(TorchDispatchMode):
    """Counts matrix products with a dimension of this size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if 'mm' in function.name():
            self.count += any(self.size in t.shape for t in args if isinstance(t, torch.Tensor))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('kept', [True, False])
@pytest.mark.parametrize('operators', ['composed'], indirect=True)
def test_no_product_over_rows_that_nobody_wants(operators, kept):
    p = Parameters(*(None if t is None else t.detach() for t in tensors('v1')))
    rows, hidden = torch.randn(2, 70, 4), torch.randn(70 if kept else 0, 16)
    layers = (*p.norm, *p.pwconv1, *p.pwconv2, p.gamma, None, None)
    counts = {}
    for wanted in [(False, False), (True, False), (False, True), (True, True)]:
        with torch.no_grad(), Products(70) as products:
            operators.mlp_backward(*rows, hidden, hidden[:0], *layers, 1.0, 0.0, 1, *wanted)
        counts[wanted] = products.count - (not kept)
    assert list(counts.values()) == [2, 3, 3, 4]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('scale', [1.0, 1 / 0.7, 0.25])
def test_the_scale_of_a_branch_is_float32(dtype, scale):
    bias, gamma = torch.randn(5).to(dtype), torch.randn(5).to(dtype)
    found = branch_scale(gamma, scale, bias)
    assert found.dtype == torch.float32 and torch.equal(found, gamma.float() * scale)
    found = branch_scale(None, scale, bias)
    assert (found is None) == (scale == 1)
    if found is not None:
        assert found.dtype == torch.float32 and torch.equal(found, torch.full((5,), scale))


def test_options_compute_all_samples_unscaled_by_default():
    assert (OPTIONS.scale, OPTIONS.keep) == (1.0, None)
