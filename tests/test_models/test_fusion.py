# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the fast path replaces a block only where it computes what the modules would.

Each case modifies a block as a user or a tool might. The result must equal the plain path's, bit
for bit, and kernels='fast' must refuse and say why.
"""

import copy
import importlib.util
import pickle
from collections.abc import Callable
from dataclasses import fields
from functools import partial

import pytest
import torch
from torch import nn
from torch.ao.quantization import MinMaxObserver, get_default_qat_qconfig, quantize_dynamic
from torch.nn.utils import parametrizations, parametrize, prune
from torch.profiler import profile

from mmconvnext import ConvNeXt
from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.report import PathReport
from mmconvnext.models import fusion
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import CHOICES, FUSIBLE, Design
from mmconvnext.models.fusion import (
    KINDS,
    fast_parameters,
    input_fault,
    parameters_fault,
    parameters_of,
    structure_fault,
)
from mmconvnext.models.layers import DropPath, LayerNorm2d

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
C = 16
X = torch.randn(2, C, 9, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _fast_wherever_possible(monkeypatch):
    """Ignore what was measured on a processor like this one."""
    monkeypatch.setattr(fusion, 'slower', lambda *_: '')


def make(kernels: str, grn: bool = True, **options) -> ConvNeXtBlock:
    torch.manual_seed(0)
    options.setdefault('layer_scale_init_value', 0.0 if grn else 1.0)
    block = ConvNeXtBlock(C, Design(), grn=grn, kernels=kernels, **options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return block


class Lora(nn.Module):
    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down = base, nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class TwiceLinear(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class OtherBlock(ConvNeXtBlock):
    def _branch(self, x):
        return 2 * super()._branch(x)


class Weight(torch.Tensor):
    """Like torchao's quantized weights: a tensor subclass in a plain layer."""


def twice(module: nn.Linear) -> TwiceLinear:
    made = TwiceLinear(module.in_features, module.out_features)
    made.load_state_dict(module.state_dict())
    return made


def replace_forward(block) -> None:
    forward = block.pwconv2.forward
    block.pwconv2.forward = lambda x: 2 * forward(x)


def replace_branch(block) -> None:
    branch = block._branch
    block._branch = lambda x: 2 * branch(x)


def wider(block) -> None:
    block.dwconv = nn.Conv2d(C, C, 9, padding=4, groups=C)


def bias_free(block) -> None:
    block.pwconv1 = nn.Linear(C, 4 * C, bias=False)


def sparse_weight(block) -> None:
    weight = block.pwconv1.weight.detach()
    block.pwconv1.weight = nn.Parameter((weight * (weight > 0)).to_sparse_csr())


def own_weight(block) -> None:
    block.pwconv1.weight = nn.Parameter(block.pwconv1.weight.as_subclass(Weight))


def circular(block) -> None:
    """As image generators do for seamless pictures."""
    conv = block.dwconv

    def forward(x, weight, bias):
        x = nn.functional.pad(x, (3, 3, 3, 3), mode='circular')
        return nn.functional.conv2d(x, weight, bias, groups=conv.groups)

    conv._conv_forward = forward


def beside(block) -> None:
    """Two kernels to be merged after training, as in RepVGG and RepLKNet."""

    class Both(nn.Module):
        def __init__(self, large):
            super().__init__()
            self.large, self.small = large, nn.Conv2d(C, C, 3, padding=1, groups=C)

        def forward(self, x):
            return self.large(x) + self.small(x)

    block.dwconv = Both(block.dwconv)


def function(name: str, value) -> Callable:
    """A plain function instead of a module."""

    def change(block) -> None:
        delattr(block, name)
        setattr(block, name, value)

    return change


def for_quantization(block) -> None:
    block.pwconv2.qconfig = get_default_qat_qconfig()
    block.pwconv2 = torch.ao.nn.qat.Linear.from_float(block.pwconv2)


def doubled(_, args, out):
    return 2 * out


def set_(name: str, value):
    return lambda block: setattr(block, name, value())


CASES = {
    'LoRA': (lambda b: setattr(b, 'pwconv1', Lora(b.pwconv1)), 'pwconv1 is a .*Lora, not a'),
    'subclass': (lambda b: setattr(b, 'pwconv2', twice(b.pwconv2)), 'pwconv2 is a .*TwiceLinear'),
    'sequential': (
        lambda b: setattr(b, 'norm', nn.Sequential(b.norm, nn.Tanh())),
        'norm is a .*Seq',
    ),
    'another act': (set_('act', nn.ReLU), 'act is a .*ReLU'),
    'GELU by tanh': (set_('act', lambda: nn.GELU('tanh')), "act is GELU with approximate='tanh'"),
    'no drop path': (set_('drop_path', nn.Identity), 'drop_path is a .*Identity'),
    'dropout': (set_('drop_path', lambda: nn.Dropout(0.0)), 'drop_path is a .*Dropout'),
    'another norm': (set_('norm', lambda: nn.RMSNorm(C)), 'norm is a .*RMSNorm'),
    'norm over pixels': (set_('norm', lambda: nn.LayerNorm((9, 7, C))), r'normalized_shape=\(9'),
    'norm without affine': (
        set_('norm', lambda: nn.LayerNorm(C, elementwise_affine=False)),
        'norm.weight is missing',
    ),
    'norm without bias': (
        set_('norm', lambda: nn.LayerNorm(C, bias=False)),
        'norm.bias is missing',
    ),
    'wider kernel': (wider, 'dwconv is a different convolution'),
    'dilation': (
        set_('dwconv', lambda: nn.Conv2d(C, C, 7, padding=6, dilation=2, groups=C)),
        'dwconv is a different convolution',
    ),
    'reflection': (
        set_('dwconv', lambda: nn.Conv2d(C, C, 7, padding=3, groups=C, padding_mode='reflect')),
        'dwconv is a different convolution',
    ),
    'dense convolution': (set_('dwconv', lambda: nn.Conv2d(C, C, 7, padding=3)), '1 groups for 16'),
    'no bias': (bias_free, 'pwconv1.bias is missing'),
    'spectral norm': (lambda b: nn.utils.spectral_norm(b.pwconv1), 'pwconv1 has hooks'),
    'weight norm': (
        lambda b: parametrizations.weight_norm(b.pwconv2),
        'pwconv2 is a .*Parametrized',
    ),
    'orthogonal': (lambda b: parametrizations.orthogonal(b.pwconv2), 'pwconv2 is a .*Parametrized'),
    'pruning': (lambda b: prune.l1_unstructured(b.pwconv1, 'weight', 0.5), 'pwconv1 has hooks'),
    'quantization': (
        lambda b: quantize_dynamic(b, {nn.Linear}, inplace=True),
        'pwconv1 is a .*quantized.*Linear',
    ),
    'subclass of tensor': (own_weight, 'pwconv1.weight is a Weight'),
    'sparse weight': (sparse_weight, 'pwconv1.weight is a torch.sparse_csr tensor on cpu'),
    'forward of an instance': (replace_forward, 'pwconv2 has a replaced forward'),
    'method of an instance': (replace_branch, 'its _branch was replaced'),
    'subclass of the block': (lambda b: setattr(b, '__class__', OtherBlock), 'its _branch was'),
    'norm behind the expansion': (
        set_('norm1', lambda: nn.LayerNorm(4 * C)),
        'it has extra norms or activations',
    ),
    'norm behind the projection': (set_('norm2', lambda: nn.LayerNorm(C)), 'it has extra norms'),
    'more activations': (set_('every_act', lambda: True), 'it has extra norms or act'),
    'circular padding': (circular, 'dwconv has a replaced _conv_forward'),
    'function for act': (function('act', torch.sin), 'act is a builtins.builtin_function'),
    'function for drop path': (function('drop_path', lambda x: 2 * x), 'drop_path is a .*function'),
    'norm is identity': (set_('norm', nn.Identity), 'norm is a .*Identity'),
    'another GRN': (set_('grn', lambda: nn.Softmax(-1)), 'grn is a .*Softmax'),
    'two kernels': (beside, 'dwconv is a .*Both'),
    'another class': (lambda b: setattr(b.pwconv1, '__class__', TwiceLinear), 'a .*TwiceLinear'),
    'old weight norm': (lambda b: nn.utils.weight_norm(b.pwconv2), 'pwconv2 has hooks'),
    'pruned kernels': (lambda b: prune.random_unstructured(b.dwconv, 'weight', 0.5), 'has hooks'),
    'fake quantization': (for_quantization, r'pwconv2 is a torch\.ao\.nn\.qat.*Linear'),
    'observer': (
        lambda b: b.pwconv1.add_module('activation_post_process', MinMaxObserver()),
        'pwconv1 contains activation_post_process',
    ),
    'scalar for gamma': (
        set_('gamma', lambda: nn.Parameter(torch.tensor(2.0))),
        r'gamma has shape \(\)',
    ),
    'child': (lambda b: b.pwconv1.add_module('adapter', nn.Identity()), 'pwconv1 contains adapter'),
    'forward hook': (lambda b: b.pwconv1.register_forward_hook(doubled), 'pwconv1 has hooks'),
    'hook of dropping': (
        lambda b: b.drop_path.register_forward_hook(doubled),
        'drop_path has hooks',
    ),
    'hook of GRN': (lambda b: b.grn.register_forward_hook(doubled), 'grn has hooks'),
    'hook with kwargs': (
        lambda b: b.act.register_forward_hook(lambda m, a, k, out: 2 * out, with_kwargs=True),
        'act has hooks',
    ),
    'pre-hook': (
        lambda b: b.norm.register_forward_pre_hook(lambda _, args: (args[0].square(),)),
        'norm has hooks',
    ),
    'backward hook': (
        lambda b: b.dwconv.register_full_backward_hook(lambda _, gi, go: (2 * gi[0],)),
        'dwconv has hooks',
    ),
    'backward pre-hook': (
        lambda b: b.pwconv2.register_full_backward_pre_hook(lambda _, go: (2 * go[0],)),
        'pwconv2 has hooks',
    ),
}


def runs_fast(block: ConvNeXtBlock, x: torch.Tensor) -> bool:
    return fast_parameters(block, x) is not None


def run(block: nn.Module, x: torch.Tensor = X) -> list[torch.Tensor]:
    leaf = x.detach().requires_grad_()
    torch.manual_seed(0)
    out = block(leaf)
    out.square().sum().backward()
    return [out.detach(), leaf.grad, *(p.grad for p in block.parameters() if p.grad is not None)]


@pytest.mark.filterwarnings('ignore:Sparse CSR tensor support is in beta')
@pytest.mark.parametrize('case', CASES)
def test_what_is_put_into_a_block_is_honoured(case):
    change, why = CASES[case]
    results = []
    for kernels in ('plain', 'auto', 'fast'):
        block = make(kernels)
        before = run(block)[0]
        torch.manual_seed(1)
        change(block)
        if kernels == 'fast':
            with pytest.raises(
                RuntimeError, match=f"kernels='fast' is not possible in the .*{why}"
            ):
                run(block)
            continue
        block.zero_grad()
        results.append(run(block))
        harmless = ('no drop', 'dropout', 'child', 'backward', 'subclass of tensor', 'observer')
        harmless += ('weight norm', 'old weight norm')
        changed = not torch.allclose(results[-1][0], before, atol=1e-4)
        assert changed != case.startswith(harmless)
    for found, expected in zip(results[1], results[0], strict=True):
        assert torch.equal(found, expected)


def tensor_for(module: nn.Module, name: str, keep: Callable) -> None:
    """Another tensor instead of a parameter, with values three times as large."""
    value = getattr(module, name).detach() * 3
    delattr(module, name)
    keep(name, value)


class Thrice(nn.Module):
    def forward(self, x):
        return 3 * x


def turned_weight(block) -> None:
    weight = block.pwconv1.weight.detach() * 3
    block.pwconv1.weight = nn.Parameter(weight.t().contiguous().t())


COMPUTED = {
    'no gamma': lambda b: setattr(b, 'gamma', None),
    'a buffer for gamma': lambda b: tensor_for(b, 'gamma', b.register_buffer),
    'a tensor for gamma': lambda b: tensor_for(b, 'gamma', partial(setattr, b)),
    'a tensor for weight': lambda b: tensor_for(b.pwconv1, 'weight', partial(setattr, b.pwconv1)),
    'parametrized gamma': lambda b: parametrize.register_parametrization(b, 'gamma', Thrice()),
    'pruned gamma': lambda b: prune.random_unstructured(b, 'gamma', 0.5),
    'weight of other strides': turned_weight,
    'another epsilon': lambda b: setattr(b.norm, 'eps', 0.5),
    'hook of the block': lambda b: b.register_forward_hook(doubled),
}


@pytest.mark.parametrize('case', COMPUTED)
def test_what_the_fast_path_can_compute_is_computed(case):
    results = []
    for kernels in ('plain', 'fast'):
        block = make(kernels, grn=False)
        before = run(block)[0]
        torch.manual_seed(1)
        COMPUTED[case](block)
        block.zero_grad()
        results.append(run(block))
        assert not torch.allclose(results[-1][0], before, atol=1e-3)
        block(X)  # hooks of pruning set the tensors that are looked at
        assert runs_fast(block, X) == (kernels == 'fast')
    for found, expected in zip(results[1], results[0], strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    'kind',
    ['forward_hook', 'forward_pre_hook', 'full_backward_hook', 'full_backward_pre_hook'],
)
def test_hooks_on_all_modules(kind):
    register = getattr(nn.modules.module, f'register_module_{kind}')
    seen, block = [], make('auto')
    handle = register(lambda module, *_: seen.append(module))
    try:
        run(block)
    finally:
        handle.remove()
    for name in KINDS:  # which the fast path would not call
        assert getattr(block, name) in seen, name


def test_every_hook_of_a_backbone_fires():
    fired = []
    model = ConvNeXt(dict(depths=[1, 1], channels=[8, 16]))
    for module in model.modules():
        module.register_forward_hook(lambda module, *_: fired.append(module))
    model(torch.zeros(1, 3, 32, 32))
    missing = {type(m) for m in model.modules()} - {type(m) for m in fired}
    assert missing == {nn.ModuleList}  # which nobody calls


def test_a_class_that_is_patched_is_noticed(monkeypatch):
    plain, auto = make('plain'), make('auto')
    for owner, name in [
        *((type(getattr(auto, name)), 'forward') for name in KINDS),
        *((nn.functional, name) for name in ('linear', 'gelu', 'layer_norm', 'conv2d')),
        *((nn.Module, '__call__'), (nn.Module, '_call_impl'), (nn.LayerNorm, '__call__')),
        (nn.Conv2d, '_conv_forward'),
    ]:
        with monkeypatch.context() as patch:
            original = getattr(owner, name)
            patch.setattr(owner, name, lambda *a, f=original, **k: f(*a, **k))
            assert torch.equal(auto(X), plain(X)) and not runs_fast(auto, X), name
        assert runs_fast(auto, X)


def test_a_class_that_was_patched_before_is_noticed(monkeypatch):
    """Before the import: a second copy of the module sees the patched class only."""
    spec = importlib.util.spec_from_file_location(f'{fusion.__name__}_later', fusion.__file__)
    for owner, name in ((nn.Linear, 'forward'), (nn.functional, 'gelu')):
        later = importlib.util.module_from_spec(spec)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda *args: 0)
            spec.loader.exec_module(later)
            assert later.structure_fault(make('auto')) == f'{owner.__name__}.{name} was replaced'
            assert runs_fast(make('auto'), X) is False


@pytest.mark.parametrize('name', ['forward', '_conv_forward', '_call_impl', '__call__'])
def test_a_replaced_method_of_a_layer_is_noticed(name):
    block = make('auto')
    setattr(block.pwconv1, name, lambda x: x)
    assert structure_fault(block) == f'pwconv1 has a replaced {name}'


def test_taking_it_away_brings_the_fast_path_back():
    block = make('auto')
    handle = block.pwconv1.register_forward_hook(doubled)
    prune.identity(block.pwconv2, 'weight')
    assert not runs_fast(block, X)
    handle.remove()
    prune.remove(block.pwconv2, 'weight')
    assert runs_fast(block, X)


def test_pruned_weights_keep_their_zeros_over_iterations():
    block = make('auto')
    prune.l1_unstructured(block.pwconv1, 'weight', 0.5)
    optimizer = torch.optim.SGD(block.parameters(), lr=1e-6)
    for _ in range(3):
        optimizer.zero_grad()
        run(block)
        optimizer.step()
    block(X)
    assert (block.pwconv1.weight == 0).float().mean() == 0.5


def test_shared_layers_collect_their_gradients():
    results = []
    for kernels in ('plain', 'fast'):
        blocks = [make(kernels, grn=False) for _ in range(2)]
        blocks[1].pwconv1 = blocks[0].pwconv1
        results.append(run(nn.Sequential(*blocks)))
    for found, expected in zip(results[1], results[0], strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_hooks_of_tensors_fire():
    calls = []
    block = make('fast')
    block.pwconv1.weight.register_hook(lambda grad: calls.append('hook') or 2 * grad)
    block.norm.bias.register_post_accumulate_grad_hook(lambda p: calls.append('after'))
    expected = run(make('fast'))
    found = run(block)
    assert sorted(calls) == ['after', 'hook']
    names = [n for n, _ in block.named_parameters()]
    at = 2 + names.index('pwconv1.weight')
    assert torch.equal(found[at], 2 * expected[at])


TYPES = {
    'float64 parameters': (lambda b: b.double(), X),
    'bfloat16 parameters': (lambda b: b.bfloat16(), X),
    'bfloat16 input': (lambda b: b, X.bfloat16()),
    'one layer': (lambda b: b.pwconv1.bfloat16(), X),
    'too many channels': (lambda b: b, torch.randn(1, C + 1, 5, 5)),
    'three dimensions': (lambda b: b, torch.randn(C, 5, 5)),
    'stride': (set_('dwconv', lambda: nn.Conv2d(C, C, 7, 2, padding=3, groups=C)), X),
    'no padding': (set_('dwconv', lambda: nn.Conv2d(C, C, 7, groups=C)), X),
    'no GRN weight': (lambda b: setattr(b.grn, 'gamma', None), X),
}


@pytest.mark.parametrize('case', TYPES)
def test_what_plain_refuses_is_refused(case):
    change, x = TYPES[case]
    for kernels in ('plain', 'auto', 'fast'):
        block = make(kernels)
        change(block)
        with pytest.raises((RuntimeError, TypeError)):
            block(x)


def test_float32_norms_in_a_bfloat16_network_run_plain():
    blocks = [make(kernels).bfloat16() for kernels in ('plain', 'auto')]
    for block in blocks:
        block.norm.float()
    x = X.bfloat16()
    assert torch.equal(blocks[0](x), blocks[1](x))


FROZEN = [
    ('pwconv1',),
    ('pwconv2', 'grn'),
    ('dwconv',),
    ('dwconv', 'norm'),
    ('pwconv1', 'pwconv2'),
    ('dwconv', 'pwconv1', 'pwconv2', 'grn'),
    ('norm', 'pwconv1', 'pwconv2', 'grn'),
    ('dwconv', 'norm', 'pwconv1', 'pwconv2', 'grn'),
]


@pytest.mark.parametrize('names', FROZEN, ids=str)
@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
def test_frozen_parts_and_evaluation_with_gradients(names, grn):
    results = []
    for kernels in ('plain', 'fast'):
        block = make(kernels, grn, drop_path_rate=0.5).eval()
        for name in names:
            if getattr(block, name) is not None:
                getattr(block, name).requires_grad_(False)
        if len(names) == 5 and not grn:
            block.gamma.requires_grad_(False)
        results.append(run(block))
        assert len(results[-1]) == 2 + sum(p.requires_grad for p in block.parameters())
    for found, expected in zip(results[1], results[0], strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def other_value(field) -> object:
    """A value of the switch that is not the paper's."""
    values = dict(
        stem_patch_size=2, group_width=C, expansion_ratio=3, spatial_first=False, kernel_size=5
    )
    if field.name in CHOICES:
        return next(v for v in CHOICES[field.name] if v != field.default)
    return 1e-3 if field.name == 'norm_eps' else values[field.name]


@pytest.mark.parametrize('field', fields(Design), ids=lambda field: field.name)
def test_a_switch_is_computed_or_turns_the_fast_path_off(field):
    design = Design(**{field.name: other_value(field)})
    arch = dict(depths=[1, 2], channels=[C, 2 * C])
    image = torch.randn(2, 3, 32, 32)
    if field.name not in FUSIBLE:
        assert list(design.unfusible) == [field.name]
        with pytest.raises(ValueError, match=f"kernels='fast' does not support .*{field.name}"):
            ConvNeXt(arch, design=design, kernels='fast')
    models = [
        ConvNeXt(arch, layer_scale_init_value=1.0, design=design, kernels=k)
        for k in ('plain', 'auto')
    ]
    models[1].load_state_dict(models[0].state_dict())
    plain, auto = (model(image) for model in models)
    for a, b in zip(plain, auto):
        if field.name in FUSIBLE:
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
        else:
            assert torch.equal(b, a)
    blocks = [b for b in models[1].modules() if isinstance(b, ConvNeXtBlock)]
    x = [torch.zeros(1, b.pwconv1.in_features, 8, 8) for b in blocks]
    assert {runs_fast(*pair) for pair in zip(blocks, x)} == {field.name in FUSIBLE}
    why = '' if field.name in FUSIBLE else f'design {design.unfusible}'
    assert {structure_fault(block) for block in blocks} == {why}


def test_stages_with_kernels_of_their_own_run_fast_where_they_are_the_papers():
    arch = dict(depths=[1, 1], channels=[C, C])
    model = ConvNeXt(arch, design=dict(kernel_size=[5, 7], stem='overlap_act'))
    assert [runs_fast(stage[0], X) for stage in model.stages] == [False, True]
    model = ConvNeXt(arch, design=dict(norm='SimpleNorm', stem='overlap'))
    assert not any(runs_fast(stage[0], X) for stage in model.stages)


def test_layer_norm_of_maps_is_no_norm_of_a_block():
    block = make('auto')
    block.norm = LayerNorm2d(C)
    assert not runs_fast(block, X)


def test_autocast_casts_no_more_where_the_block_runs_plain():
    counts = []
    for kernels in ('plain', 'auto'):
        block = make(kernels)
        block.act = nn.ReLU()
        with profile() as events, torch.autocast('cpu', torch.bfloat16):
            block(X)
        counts.append(sum(event.name == 'aten::_to_copy' for event in events.events()))
    assert counts[0] == counts[1] > 0


def test_folded_weights_stay_on_the_machine():
    block = make('fast').eval()
    block.fuse()
    with torch.no_grad():
        expected = block(X)
        assert block._folded
        other = pickle.loads(pickle.dumps(block))
        assert other._folded == {} and torch.equal(other(X), expected) and other._folded


def test_freed_memory_is_an_error():
    block = make('auto').eval()
    block.fuse()
    with torch.no_grad():
        block(X)
        block.pwconv2.weight.untyped_storage().resize_(0)
        assert not runs_fast(block, X)
        with pytest.raises(RuntimeError):
            block(X)


def test_a_plain_block_can_be_traced_by_fx():
    block = make('plain', grn=False).eval()
    traced = torch.fx.symbolic_trace(block)
    assert torch.equal(traced(X), block(X))


def test_copies_and_pickles_run_fast(tmp_path):
    block = make('fast', drop_path_rate=0.1)
    torch.save(block, tmp_path / 'block.pth')
    for other in (copy.deepcopy(block), torch.load(tmp_path / 'block.pth', weights_only=False)):
        assert isinstance(other.drop_path, DropPath) and runs_fast(other, X)


# --- the choice and its report --------------------------------------------------------------------


@pytest.mark.parametrize('frozen', [(), ('pwconv1',), ('pwconv2',), ('pwconv1', 'pwconv2')])
@pytest.mark.parametrize(('dtype', 'training'), [(torch.float32, True), (torch.bfloat16, False)])
def test_auto_alone_asks_what_was_measured(dtype, training, frozen, monkeypatch):
    asked, half = [], dtype == torch.bfloat16
    monkeypatch.setattr(fusion, 'slower', lambda *case: asked.append(case) or 'it is slower')
    for kernels in ('auto', 'fast', 'plain'):
        block = make(kernels, name='stages.1.0', report=PathReport())
        for name in frozen:
            getattr(block, name).requires_grad_(False)
        with torch.autocast('cpu', enabled=half), torch.set_grad_enabled(training):
            assert runs_fast(block, X) == (kernels == 'fast')
        why = dict(auto='it is slower', fast='', plain="kernels='plain'")[kernels]
        assert block.report.why == {'stages.1.0': why}
    assert asked == [(dtype, training, len(frozen) == 2)]


def test_auto_alone_leaves_unmeasured_devices(monkeypatch):
    monkeypatch.setattr(fusion, 'unmeasured', lambda x: 'not measured')
    auto = make('auto', report=PathReport())
    assert not runs_fast(auto, X) and auto.report.why == {'the block': 'not measured'}
    assert runs_fast(make('fast'), X) and runs_fast(make('fast', report=None), X)


def test_a_call_that_must_run_plain_does_so_whatever_is_asked(monkeypatch):
    """Unlike a change of the block, which is an error with kernels='fast'."""
    monkeypatch.setattr(fusion, 'unmeasured', lambda x: 'not measured')
    for kernels in ('auto', 'fast'):
        block = make(kernels, report=PathReport())
        assert block(X[:0]).shape == (0, C, 9, 7)
        assert block.report.why == {'the block': 'the map is empty'}
    block.pwconv1, block.name = nn.Identity(), 'stages.2.1'
    with pytest.raises(RuntimeError, match=r"in stages\.2\.1: pwconv1 is a .*; use 'auto' or 'pl"):
        block(X)


def test_a_compiler_does_not_see_the_report(monkeypatch):
    block = make('auto', report=PathReport())
    monkeypatch.setattr(fusion, 'is_compiling', lambda: True)
    fast_parameters(block, X)
    assert block.report.why == {}


SHAPES = dict(
    dwconv_weight=(C, 1, 7, 7),
    dwconv_bias=(C,),
    norm_weight=(C,),
    norm_bias=(C,),
    pwconv1_weight=(4 * C, C),
    pwconv1_bias=(4 * C,),
    pwconv2_weight=(C, 4 * C),
    pwconv2_bias=(C,),
    gamma=(C,),
    grn_gamma=(4 * C,),
    grn_beta=(4 * C,),
)


@pytest.mark.parametrize('field', SHAPES)
def test_a_parameter_that_does_not_fit_is_named(field):
    p, name = parameters_of(make('plain', layer_scale_init_value=1.0)), field.replace('_', '.', 1)
    tensor, half = getattr(p, field), torch.bfloat16
    assert tensor.shape == SHAPES[field] and parameters_fault(p, True) == input_fault(X, p) == ''

    def faults(value, x=X) -> tuple[str, str]:
        changed = p._replace(**{field: value})
        return parameters_fault(changed, True), input_fault(x, changed)

    if field != 'pwconv1_weight':  # which the sizes are read from
        missing = '' if field == 'gamma' else f'{name} is missing'
        assert parameters_fault(p._replace(**{field: None}), True) == missing
        assert parameters_fault(p._replace(**{field: None}), False) == (
            '' if field in ('gamma', 'grn_gamma', 'grn_beta') else missing
        )
    assert faults(tensor.detach().as_subclass(Weight))[0] == f'{name} is a Weight'
    wrong = faults(torch.zeros(*tensor.shape, 2))[0]
    if field == 'pwconv1_weight':  # the others are compared with it
        assert wrong.startswith('dwconv.weight has shape (16, 1, 7, 7), not (-1')
    else:
        assert wrong.startswith(f'{name} has shape {(*tensor.shape, 2)}, not {SHAPES[field]}')
    assert faults(tensor.to('meta'))[1] == f'{name} is a torch.strided tensor on meta'
    freed = tensor.detach().clone()
    freed.untyped_storage().resize_(0)
    assert faults(freed)[1] == f'{name} has no storage'
    # The spatial convolution's weight stands for the type of all others.
    first = 'dwconv.bias' if field == 'dwconv_weight' else name
    assert faults(tensor.to(half))[1].startswith(
        f'{name} is torch.bfloat16, the input is torch.float32'
    )
    with torch.autocast('cpu', half):
        assert faults(tensor.to(half))[1].startswith(f'{first} is torch.')


@pytest.mark.parametrize(
    ('given', 'parameters', 'autocast', 'fits'),
    [
        ('float32', 'float32', None, True),
        ('bfloat16', 'bfloat16', None, True),
        ('float32', 'bfloat16', None, False),
        ('bfloat16', 'float32', None, False),
        ('bfloat16', 'float32', 'bfloat16', True),
        ('float32', 'bfloat16', 'bfloat16', True),
        ('bfloat16', 'bfloat16', 'bfloat16', True),
        ('float32', 'float64', 'bfloat16', False),
    ],
)
def test_types_that_autocast_brings_together_fit(given, parameters, autocast, fits):
    p = parameters_of(make('plain').to(getattr(torch, parameters)))
    cast = None if autocast is None else getattr(torch, autocast)
    with torch.autocast('cpu', cast, enabled=cast is not None):
        fault = input_fault(X.to(getattr(torch, given)), p)
    expected = f'dwconv.weight is torch.{parameters}, the input is torch.{given}'
    assert fault == ('' if fits else expected)


def test_parameters_behind_one_that_is_missing_are_looked_at():
    p = parameters_of(make('plain'))
    assert p.gamma is None
    changed = p._replace(grn_beta=p.grn_beta.to(torch.bfloat16))
    assert input_fault(X, changed).startswith('grn.beta is torch.bfloat16')


def test_an_input_elsewhere_or_of_another_shape_is_named():
    p = parameters_of(make('plain'))
    assert input_fault(X.to('meta'), p) == 'dwconv.weight is a torch.strided tensor on cpu'
    assert input_fault(X[0], p) == 'the input has shape (16, 9, 7)'
    assert input_fault(X[:, 1:], p) == 'the input has shape (2, 15, 9, 7)'
