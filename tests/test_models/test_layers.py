# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: each layer computes its formula, in the memory format and precision it promises."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmconvnext.models.design import Design
from mmconvnext.models.layers import (
    Downsample,
    DropPath,
    GlobalResponseNorm,
    LayerNorm2d,
    SimpleNorm,
    SimpleNorm2d,
    build_act,
    build_norm,
    build_stem,
    norm_last,
)


def randomize(module: nn.Module) -> nn.Module:
    for param in module.parameters():
        nn.init.normal_(param, mean=0.5)
    return module


def test_layer_norm_2d_is_its_formula():
    layer = randomize(LayerNorm2d(6, eps=1e-2))
    x = torch.randn(2, 6, 3, 5)
    mean = x.mean(1, keepdim=True)
    var = (x - mean).square().mean(1, keepdim=True)
    weight, bias = layer.weight[:, None, None], layer.bias[:, None, None]
    torch.testing.assert_close(layer(x), (x - mean) / (var + 1e-2).sqrt() * weight + bias)


@pytest.mark.parametrize('kind', [SimpleNorm, SimpleNorm2d])
def test_simple_norm_is_its_formula(kind):
    layer = randomize(kind(6, eps=1e-2))
    assert [name for name, _ in layer.named_parameters()] == ['weight']
    x = torch.randn(2, 3, 5, 6) * 2 + 1
    centred = x - x.mean(-1, keepdim=True)
    expected = x / (centred.square().sum(-1, keepdim=True) / 5 + 1e-2).sqrt() * layer.weight
    if kind is SimpleNorm2d:
        x, expected = x.permute(0, 3, 1, 2), expected.permute(0, 3, 1, 2)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize('autocast', [False, True])
def test_simple_norm_is_taken_in_float32(autocast):
    layer, peer = SimpleNorm(6), nn.LayerNorm(6)
    if not autocast:
        layer.bfloat16(), peer.bfloat16()
    x = (torch.randn(64, 6) * 2 + 100).bfloat16()  # the mean of squares alone would not do
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        out = layer(x)
        assert out.dtype == peer(x).dtype
    exact = x.double() / (x.double().var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(out.double(), exact, rtol=5e-3, atol=0)


def test_simple_norm_of_one_channel_is_refused():
    with pytest.raises(ValueError, match="norm='SimpleNorm' needs at least 2 channels, got 1"):
        SimpleNorm(1)
    x = torch.tensor([3.0, 5.0])
    torch.testing.assert_close(SimpleNorm(2)(x), x / 2**0.5)


def test_grn_is_its_formula():
    layer = randomize(GlobalResponseNorm(6))
    x = torch.randn(2, 3, 5, 6)
    norm = x.square().sum((1, 2), keepdim=True).sqrt()
    scale = norm / (norm.mean(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(layer(x), layer.gamma * (x * scale) + layer.beta + x)


@pytest.mark.parametrize(('options', 'eps'), [({}, 1e-6), (dict(eps=0.25), 0.25)])
def test_the_epsilon_of_grn_is_added_to_the_mean_of_the_norms(options, eps):
    """On a map as small as the epsilon, one image far below the other."""
    layer = randomize(GlobalResponseNorm(6, **options))
    x = torch.randn(2, 3, 5, 6) * torch.tensor([1e-6, 1e-8]).view(2, 1, 1, 1)
    norm = x.square().sum((1, 2), keepdim=True).sqrt()
    scale = norm / (norm.mean(-1, keepdim=True) + eps)
    layer.beta.data.zero_()  # beside it, values this small are lost
    expected = (1 + layer.gamma * scale).expand_as(x)
    torch.testing.assert_close(layer(x) / x, expected, rtol=1e-4, atol=1e-5)


def test_grn_starts_as_the_identity():
    layer, x = GlobalResponseNorm(6), torch.randn(2, 3, 5, 6)
    assert torch.equal(layer(x), x)
    assert layer.gamma.shape == layer.beta.shape == (6,)


def test_grn_of_a_dead_map_is_finite_in_value_and_gradient():
    layer = randomize(GlobalResponseNorm(4))
    x = torch.zeros(1, 3, 3, 4, requires_grad=True)
    layer(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_grn_has_the_gradients_of_its_formula_in_float64():
    layer = GlobalResponseNorm(3).double()

    def apply(x, gamma, beta):
        return torch.func.functional_call(layer, dict(gamma=gamma, beta=beta), (x,))

    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    gamma, beta = torch.randn(2, 3, dtype=torch.float64).requires_grad_().unbind()
    assert torch.autograd.gradcheck(apply, (x, gamma, beta))


def test_drop_path_is_the_identity_without_rate_and_in_evaluation():
    x = torch.randn(4, 3)
    assert DropPath(0.0)(x) is DropPath()(x) is x
    assert DropPath(0.9).eval()(x) is x


@pytest.mark.parametrize('shape', [(4000, 2), (4000, 2, 1, 3)])
def test_drop_path_drops_whole_samples_and_keeps_the_mean(shape):
    out = DropPath(0.25)(torch.ones(shape)).flatten(1)
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert torch.equal(out.min(1).values, out.max(1).values)
    assert out.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64], ids=str)
def test_drop_path_keeps_the_type(dtype):
    out = DropPath(0.5)(torch.ones(16, 3, dtype=dtype))
    assert out.dtype == dtype and set(out.unique().tolist()) == {0, 2}


def test_drop_path_rate_is_shown():
    assert repr(DropPath(1 / 3)) == 'DropPath(rate=0.333)'


@pytest.mark.parametrize('size', [(2, 2), (5, 4), (7, 9)])
def test_downsample_halves_and_rounds_down(size):
    layer = randomize(Downsample(4, 6, Design()))
    x = torch.randn(2, 4, *size)
    expected = F.conv2d(layer[0](x), layer[1].weight, layer[1].bias, stride=2)
    assert expected.shape == (2, 6, size[0] // 2, size[1] // 2)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(('size', 'out'), [((1, 1), (1, 1)), ((1, 4), (1, 2)), ((5, 1), (2, 1))])
def test_downsample_of_a_single_pixel_pads_with_zeros(size, out):
    layer = randomize(Downsample(4, 6, Design()))
    x = torch.randn(2, 4, *size)
    assert layer(x).shape == (2, 6, *out)
    kernel = layer[1].weight[:, :, : min(2, size[0]), : min(2, size[1])]
    corner = layer[0](x)[:, :, :2, :2]
    expected = torch.einsum('nchw,ochw->no', corner, kernel) + layer[1].bias
    torch.testing.assert_close(layer(x)[:, :, 0, 0], expected)


@pytest.mark.parametrize(
    ('switches', 'kinds', 'stride'),
    [
        (dict(), [nn.Conv2d, LayerNorm2d], 4),
        (dict(stem_patch_size=2), [nn.Conv2d, LayerNorm2d], 2),
        (dict(stem='resnet'), [nn.Conv2d, LayerNorm2d, nn.GELU, nn.MaxPool2d], 4),
        (
            dict(stem='resnet', norm='BN', act='ReLU'),
            [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d],
            4,
        ),
        (dict(stem='overlap'), [nn.Conv2d, nn.Conv2d, LayerNorm2d], 4),
        (dict(stem='overlap_tiered'), [nn.Conv2d, nn.Conv2d, LayerNorm2d], 4),
        (
            dict(stem='overlap_act', norm='SimpleNorm', act='SiLU'),
            [nn.Conv2d, nn.SiLU, nn.Conv2d, SimpleNorm2d],
            4,
        ),
    ],
)
def test_stem(switches, kinds, stride):
    stem = build_stem(Design(**switches), 5, 8)
    assert [type(layer) for layer in stem] == kinds
    assert stem(torch.randn(2, 5, 32, 48)).shape == (2, 8, 32 // stride, 48 // stride)
    kind = switches.get('stem', 'patchify')
    kernel = {'patchify': stride, 'resnet': 7}.get(kind, 3)
    assert stem[0].weight.shape == (8, 5, kernel, kernel)
    rounded = stem(torch.randn(2, 5, 31, 46)).shape[2:]
    assert rounded == ((31 // stride, 46 // stride) if kind == 'patchify' else (8, 12))


# The first filters of timm's convnext_atto_ols, femto_ols and pico_ols, whose key list and
# parameter counts say so; 12 // 2 rounds to 8, 40 // 2 up to 24, and 92 // 2 = 46 to 48. 70 // 2
# may lose 3 of 35, but 22 // 2 not 3 of 11, nor 54 // 2 3 of 27: more than a tenth.
@pytest.mark.parametrize(
    ('channels', 'middle'),
    [
        *((40, 24), (48, 24), (64, 32), (4, 8), (12, 8), (88, 48), (92, 48)),
        *((70, 32), (22, 16), (54, 32)),
    ],
)
def test_tiered_stem_has_half_the_channels_to_a_multiple_of_8(channels, middle):
    stem = build_stem(Design(stem='overlap_tiered'), 3, channels)
    assert [layer.weight.shape[0] for layer in stem[:2]] == [middle, channels]


def test_both_memory_orders_of_layer_norm_agree():
    first = randomize(build_norm(Design(), 6))
    last = build_norm(Design(), 6, channels_last=True)
    last.load_state_dict(first.state_dict())
    x = torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), first(x))


# For (N, C, H, W) and for (N, H, W, C), and the default epsilon.
NORMS = {
    'LN': (LayerNorm2d, nn.LayerNorm, 1e-6),
    'SimpleNorm': (SimpleNorm2d, SimpleNorm, 1e-6),
    'BN': (nn.BatchNorm2d, nn.BatchNorm2d, 1e-5),
    'SyncBN': (nn.SyncBatchNorm, nn.SyncBatchNorm, 1e-5),
}


@pytest.mark.parametrize('norm', NORMS)
def test_kind_and_eps_of_a_norm(norm):
    first, last, eps = NORMS[norm]
    for kind, options in ((first, {}), (last, dict(channels_last=True))):
        layer = build_norm(Design(norm=norm, norm_eps=0.25), 6, **options)
        assert type(layer) is kind and layer.weight.shape == (6,)
        assert layer.eps == 0.25 and build_norm(Design(norm=norm), 6, **options).eps == eps


@pytest.mark.parametrize(
    ('act', 'function'),
    [
        ('GELU', F.gelu),
        ('GELU_tanh', lambda x: F.gelu(x, approximate='tanh')),
        ('ReLU', F.relu),
        ('SiLU', F.silu),
    ],
)
def test_activation(act, function):
    x = torch.linspace(-4, 4, 33)
    assert torch.equal(build_act(Design(act=act))(x), function(x))


CHANNELS_LAST, CHANNELS_FIRST = (2, 3, 5, 6), (2, 6, 3, 5)


@pytest.mark.parametrize(
    ('design', 'norm', 'received'),
    [
        ('LN', nn.LayerNorm(6), CHANNELS_LAST),
        ('BN', nn.BatchNorm2d(6), CHANNELS_FIRST),
        # What has replaced the norm decides, if it is of a known kind.
        ('BN', nn.LayerNorm(6), CHANNELS_LAST),
        ('LN', nn.BatchNorm2d(6), CHANNELS_FIRST),
        ('SyncBN', nn.BatchNorm2d(6), CHANNELS_FIRST),
        # What wraps it gets what the norm gets.
        ('LN', nn.Sequential(nn.LayerNorm(6)), CHANNELS_LAST),
        ('SimpleNorm', nn.Sequential(SimpleNorm(6)), CHANNELS_LAST),
        ('BN', nn.Sequential(nn.BatchNorm2d(6)), CHANNELS_FIRST),
        ('SyncBN', nn.Sequential(nn.BatchNorm2d(6)), CHANNELS_FIRST),
    ],
)
def test_a_norm_within_a_block_gets_its_order_of_dimensions(design, norm, received):
    seen, x = [], torch.randn(CHANNELS_LAST)
    norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    assert norm_last(norm, x, Design(norm=design)).shape == CHANNELS_LAST
    assert seen == [received]
