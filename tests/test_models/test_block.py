# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the block computes the paper's formula; each ablation reverts its one idea, in value.

The formulas here are written on (N, C, H, W) with functional calls only, the block works on
(N, H, W, C) with modules.
"""

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmconvnext.models import block as block_module
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design


def make(channels: int = 6, switches: dict | None = None, **options) -> ConvNeXtBlock:
    """A block none of whose parameters is trivial (zero, one, or equal over the channels)."""
    block = ConvNeXtBlock(channels, Design.of(switches), **options)
    for param in block.parameters():
        nn.init.normal_(param, mean=0.3, std=0.5)
    return block


def norm(x: Tensor, layer: nn.Module) -> Tensor:
    """LayerNorm over dimension 1."""
    x = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-6).sqrt()
    return x * layer.weight[:, None, None] + layer.bias[:, None, None]


def pointwise(x: Tensor, layer: nn.Linear) -> Tensor:
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)


def depthwise(x: Tensor, layer: nn.Conv2d, groups: int) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2, groups=groups)


def assert_grads_flow(block: ConvNeXtBlock, x: Tensor) -> None:
    x = x.clone().requires_grad_()
    (block(x) * torch.randn_like(x)).sum().backward()
    flat = [name for name, param in block.named_parameters() if not param.grad.abs().sum() > 0]
    assert flat == []
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize('size', [(7, 9), (1, 1), (1, 12), (3, 2)])
def test_v1_is_the_formula_of_figure_4(size):
    block = make(layer_scale_init_value=1.0)
    x = torch.randn(2, 6, *size)
    y = norm(depthwise(x, block.dwconv, groups=6), block.norm)
    y = pointwise(F.gelu(pointwise(y, block.pwconv1)), block.pwconv2)
    torch.testing.assert_close(block(x), x + block.gamma[:, None, None] * y)


@pytest.mark.parametrize('size', [(7, 9), (1, 1), (1, 12), (3, 2)])
def test_v2_is_the_formula_of_figure_5(size):
    block = make(grn=True)
    x = torch.randn(2, 6, *size)
    torch.testing.assert_close(block(x), x + branch_of_v2(block, x))


def branch_of_v2(block: ConvNeXtBlock, x: Tensor) -> Tensor:
    y = norm(depthwise(x, block.dwconv, groups=6), block.norm)
    y = F.gelu(pointwise(y, block.pwconv1))
    length = y.square().sum((2, 3), keepdim=True).sqrt()
    scaled = y * length / (length.mean(1, keepdim=True) + 1e-6)
    gamma, beta = block.grn.gamma[:, None, None], block.grn.beta[:, None, None]
    return pointwise(y + gamma * scaled + beta, block.pwconv2)


@pytest.mark.parametrize('kernels', ['plain', 'auto'])
def test_layer_scale_beside_grn_multiplies_the_branch(kernels):
    """As in mmpretrain's block: GRN within the branch, layer scale at its end; also in gradient."""
    block = make(grn=True, layer_scale_init_value=1.0, kernels=kernels)
    x, weight = torch.randn(2, 6, 7, 9, requires_grad=True), torch.randn(2, 6, 7, 9)
    inputs = dict(block.named_parameters()) | {'x': x}
    outs = block(x), x + block.gamma[:, None, None] * branch_of_v2(block, x)
    torch.testing.assert_close(*outs)
    found, expected = (torch.autograd.grad((o * weight).sum(), [*inputs.values()]) for o in outs)
    for name, *pair in zip(inputs, found, expected):
        torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-4, msg=name)


def test_names_and_shapes_of_v1_and_v2():
    # Those of Meta's ConvNeXt; of GRN, Meta has (1, 1, 1, C).
    shared = {
        'dwconv.weight': (6, 1, 7, 7),
        'dwconv.bias': (6,),
        'norm.weight': (6,),
        'norm.bias': (6,),
        'pwconv1.weight': (24, 6),
        'pwconv1.bias': (24,),
        'pwconv2.weight': (6, 24),
        'pwconv2.bias': (6,),
    }
    v1 = {k: tuple(v.shape) for k, v in make(layer_scale_init_value=1e-6).state_dict().items()}
    v2 = {k: tuple(v.shape) for k, v in make(grn=True).state_dict().items()}
    assert v1 == {**shared, 'gamma': (6,)}
    assert v2 == {**shared, 'grn.gamma': (24,), 'grn.beta': (24,)}


def test_layer_scale_starts_where_told_and_zero_builds_none():
    block = ConvNeXtBlock(4, Design(), layer_scale_init_value=0.25)
    assert block.gamma.tolist() == [0.25] * 4
    assert ConvNeXtBlock(4, Design(), layer_scale_init_value=0.0).gamma is None


@pytest.mark.parametrize('kernel_size', [1, 3, 5, 9, 11])
def test_kernel_size(kernel_size):
    block = make(switches=dict(kernel_size=kernel_size), layer_scale_init_value=1.0)
    assert block.dwconv.weight.shape == (6, 1, kernel_size, kernel_size)
    x = torch.zeros(1, 6, 23, 23)
    x[0, :, 11, 11] = torch.randn(6)
    changed = (block(x) - block(torch.zeros_like(x)))[0].abs().amax(0) > 1e-6
    rows = changed.any(1).nonzero().flatten().tolist()
    assert rows == list(range(11 - kernel_size // 2, 12 + kernel_size // 2))


@pytest.mark.parametrize(('group_width', 'groups'), [(1, 6), (2, 3), (6, 1), (None, 1)])
def test_group_width(group_width, groups):
    block = make(switches=dict(group_width=group_width), layer_scale_init_value=1.0)
    assert block.dwconv.weight.shape == (6, 6 // groups, 7, 7)
    x = torch.randn(2, 6, 5, 5)
    y = norm(depthwise(x, block.dwconv, groups), block.norm)
    y = pointwise(F.gelu(pointwise(y, block.pwconv1)), block.pwconv2)
    torch.testing.assert_close(block(x), x + block.gamma[:, None, None] * y)


def test_group_width_that_does_not_divide_is_named():
    with pytest.raises(ValueError, match='group_width=4 does not divide the 6 channels'):
        make(switches=dict(group_width=4))


@pytest.mark.parametrize(('ratio', 'hidden'), [(4, 24), (2.5, 15), (1, 6), (0.25, 1)])
def test_expansion_ratio(ratio, hidden):
    block = make(switches=dict(expansion_ratio=ratio), grn=True)
    assert block.pwconv1.weight.shape == (hidden, 6)
    assert block.pwconv2.weight.shape == (6, hidden)
    assert block.grn.gamma.shape == (hidden,)
    assert block(torch.randn(1, 6, 5, 5)).shape == (1, 6, 5, 5)


def test_expansion_ratio_that_leaves_nothing_is_named():
    with pytest.raises(
        ValueError,
        match='expansion_ratio=0.1 leaves no hidden channels in a block of 6; use at least 1/6',
    ):
        make(switches=dict(expansion_ratio=0.1))


def test_spatial_convolution_between_the_pointwise_ones():
    block = make(switches=dict(spatial_first=False), layer_scale_init_value=1.0)
    assert block.dwconv.weight.shape == (24, 1, 7, 7)
    assert block.norm.weight.shape == (24,)
    x = torch.randn(2, 6, 5, 7)
    y = norm(depthwise(pointwise(x, block.pwconv1), block.dwconv, groups=24), block.norm)
    y = pointwise(F.gelu(y), block.pwconv2)
    torch.testing.assert_close(block(x), x + block.gamma[:, None, None] * y)


@pytest.mark.parametrize(
    ('act', 'function'),
    [('ReLU', F.relu), ('SiLU', F.silu), ('GELU_tanh', lambda x: F.gelu(x, approximate='tanh'))],
)
def test_activation(act, function):
    block = make(switches=dict(act=act), layer_scale_init_value=1.0)
    x = torch.randn(2, 6, 5, 5)
    y = norm(depthwise(x, block.dwconv, groups=6), block.norm)
    y = pointwise(function(pointwise(y, block.pwconv1)), block.pwconv2)
    torch.testing.assert_close(block(x), x + block.gamma[:, None, None] * y)


@pytest.mark.parametrize('spatial_first', [True, False])
def test_activation_after_every_convolution(spatial_first):
    switches = dict(act='ReLU', act_after='every_conv', spatial_first=spatial_first)
    block = make(switches=switches, layer_scale_init_value=1.0)
    x = torch.randn(2, 6, 5, 5)
    if spatial_first:
        y = F.relu(norm(depthwise(x, block.dwconv, groups=6), block.norm))
        y = F.relu(pointwise(y, block.pwconv1))
    else:
        y = F.relu(pointwise(x, block.pwconv1))
        y = F.relu(norm(depthwise(y, block.dwconv, groups=24), block.norm))
    y = block.gamma[:, None, None] * pointwise(y, block.pwconv2)
    torch.testing.assert_close(block(x), F.relu(x + y))


def test_norm_after_every_convolution():
    block = make(switches=dict(norm_after='every_conv'), layer_scale_init_value=1.0)
    assert block.norm1.weight.shape == (24,)
    assert block.norm2.weight.shape == (6,)
    x = torch.randn(2, 6, 5, 5)
    y = norm(depthwise(x, block.dwconv, groups=6), block.norm)
    y = F.gelu(norm(pointwise(y, block.pwconv1), block.norm1))
    y = norm(pointwise(y, block.pwconv2), block.norm2)
    torch.testing.assert_close(block(x), x + block.gamma[:, None, None] * y)


@pytest.mark.parametrize('training', [True, False])
def test_batch_norm(training):
    block = make(switches=dict(norm='BN'), layer_scale_init_value=1.0).train(training)
    nn.init.uniform_(block.norm.running_var, 0.5, 2)
    mean, var = block.norm.running_mean.clone(), block.norm.running_var.clone()
    x = torch.randn(2, 6, 5, 5)
    y = depthwise(x, block.dwconv, groups=6)
    y = F.batch_norm(y, mean, var, block.norm.weight, block.norm.bias, training)
    y = pointwise(F.gelu(pointwise(y, block.pwconv1)), block.pwconv2)
    torch.testing.assert_close(block(x), x + block.gamma[:, None, None] * y)


ABLATIONS = [
    dict(group_width=2),
    dict(group_width=None),
    dict(expansion_ratio=0.5),
    dict(spatial_first=False),
    dict(kernel_size=3),
    dict(act='SiLU'),
    dict(act='GELU', act_after='every_conv'),
    dict(norm='BN'),
    dict(norm_after='every_conv'),
    dict(norm='BN', norm_after='every_conv', act_after='every_conv', spatial_first=False),
]


@pytest.mark.parametrize('grn', [False, True])
@pytest.mark.parametrize('switches', [{}, *ABLATIONS], ids=str)
def test_gradients_reach_every_parameter(switches, grn):
    block = make(8, switches, grn=grn, layer_scale_init_value=0.0 if grn else 1.0)
    assert_grads_flow(block, torch.randn(3, 8, 5, 6))


@pytest.mark.parametrize('switches', ABLATIONS, ids=str)
def test_each_ablation_changes_the_block(switches):
    default = make(8, layer_scale_init_value=1.0).eval()
    changed = make(8, switches, layer_scale_init_value=1.0).eval()
    own = changed.state_dict()
    same = {k: v for k, v in default.state_dict().items() if k in own and v.shape == own[k].shape}
    changed.load_state_dict(same, strict=False)
    x = torch.randn(1, 8, 5, 6)
    assert (default(x) - changed(x)).abs().max() > 1e-3


def both_ways(rate: float, switches: dict | None = None) -> list[dict]:
    """Output and gradients, without and with checkpointing, from the same weights and seed."""
    block = make(6, switches, grn=True, drop_path_rate=rate)
    x = torch.randn(8, 6, 5, 7)
    weight = torch.randn_like(x)
    results = []
    for with_cp in (False, True):
        block.with_cp = with_cp
        block.zero_grad()
        inputs = x.clone().requires_grad_()
        torch.manual_seed(1)
        out = block(inputs)
        (out * weight).sum().backward()
        grads = {name: param.grad.clone() for name, param in block.named_parameters()}
        results.append({'out': out.detach(), 'in': inputs.grad, **grads})
    return results


@pytest.mark.parametrize('rate', [0.0, 0.5])
@pytest.mark.parametrize('switches', [{}, dict(act_after='every_conv')], ids=str)
def test_checkpointing_equals_plain_in_value_and_gradient(rate, switches):
    plain, checkpointed = both_ways(rate, switches)
    assert plain.keys() == checkpointed.keys()
    for name in plain:
        assert torch.equal(plain[name], checkpointed[name]), name


def test_checkpointing_keeps_fewer_activations():
    def saved(with_cp: bool) -> int:
        block = make(6, with_cp=with_cp, kernels='plain')
        sizes = []
        keep = torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        )
        with keep:
            block(torch.randn(2, 6, 16, 16, requires_grad=True))
        return sum(sizes)

    assert saved(True) < saved(False) / 3


@pytest.mark.parametrize(
    ('with_cp', 'training', 'gradients', 'image_gradients', 'recomputed'),
    [
        (True, True, True, True, True),
        (True, False, True, True, True),
        (True, True, True, False, False),
        (True, True, False, True, False),
        (False, True, True, True, False),
        (None, True, True, True, False),
    ],
)
def test_checkpointing_where_there_is_a_gradient_to_compute(
    with_cp, training, gradients, image_gradients, recomputed, monkeypatch
):
    calls, real = [], block_module.checkpoint
    monkeypatch.setattr(
        block_module, 'checkpoint', lambda *a, **kw: calls.append(kw) or real(*a, **kw)
    )
    options = {} if with_cp is None else dict(with_cp=with_cp)
    with torch.set_grad_enabled(gradients):
        make(6, **options).train(training)(torch.randn(2, 6, 5, 7, requires_grad=image_gradients))
    assert calls == [dict(use_reentrant=False)] * recomputed


def test_a_copy_is_fused_as_its_original_is():
    block = make(6)
    assert pickle.loads(pickle.dumps(block))._folded is None
    block.fuse()
    assert pickle.loads(pickle.dumps(block))._folded == block.eval()._folded == {}
    assert pickle.loads(pickle.dumps(block.train()))._folded is None


def test_without_options_it_has_neither_grn_nor_layer_scale():
    block = ConvNeXtBlock(6, Design())
    assert (block.grn, block.gamma, block.drop_path.rate, block.with_cp) == (None, None, 0.0, False)
    assert (block.kernels, block.name, block.report) == ('auto', 'the block', None)


def test_dropped_samples_are_the_input_itself():
    block = make(6, layer_scale_init_value=1.0, drop_path_rate=0.5)
    x = torch.randn(64, 6, 3, 3)
    out = block(x)
    dropped = (out == x).flatten(1).all(1)
    assert 10 < dropped.sum() < 54
    branch = block.eval()(x) - x
    torch.testing.assert_close(out[~dropped], (x + 2 * branch)[~dropped])
