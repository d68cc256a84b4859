# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: in half precision nothing overflows and the maps stay close to those of float32.

Statistics overflow first: float16 ends at 65504, and the square of 256 exceeds it.
"""

import pytest
import torch
from torch import Tensor, nn

from mmconvnext.models import ConvNeXt
from mmconvnext.models.layers import GlobalResponseNorm, LayerNorm2d

FULL_SIZE = (1, 3, 800, 1333)  # a COCO image at the recipes' test scale
STRIDE_4 = (200, 334)  # its first map


def with_weights(model: nn.Module) -> nn.Module:
    """Layer scale 1 and GRN not zero, so that each block counts."""
    for name, param in model.named_parameters():
        if name.endswith('grn.gamma') or name.endswith('grn.beta'):
            nn.init.normal_(param)
        elif name.endswith('.gamma'):
            nn.init.ones_(param)
    return model.eval()


def max_error(actual: Tensor, expected: Tensor) -> float:
    """Largest deviation, relative to the largest value of the expected map."""
    return ((actual.float() - expected).abs().max() / expected.abs().max()).item()


def rms_error(actual: Tensor, expected: Tensor) -> float:
    error = (actual.float() - expected).square().mean().sqrt()
    return (error / expected.square().mean().sqrt()).item()


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_bfloat16_agrees_with_float32_at_full_size(version):
    model = with_weights(ConvNeXt('atto', version))
    x = torch.randn(FULL_SIZE)
    with torch.no_grad():
        expected = model(x)
        maps = model.bfloat16()(x.bfloat16())
    for actual, wanted in zip(maps, expected, strict=True):
        assert actual.dtype == torch.bfloat16
        # bfloat16 keeps 8 bits: half a step is 0.2 %. Measured: 1.2 % at most, 0.9 % rms.
        assert max_error(actual, wanted) < 0.03
        assert rms_error(actual, wanted) < 0.02


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_autocast_to_bfloat16_agrees_with_float32(version):
    model = with_weights(ConvNeXt('atto', version))
    x = torch.randn(1, 3, 200, 336)
    with torch.no_grad():
        expected = model(x)
        with torch.autocast('cpu', torch.bfloat16):
            maps = model(x)
    for actual, wanted in zip(maps, expected, strict=True):
        assert max_error(actual, wanted) < 0.03
        assert rms_error(actual, wanted) < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason='float16 is refused on a CPU')
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_float16_agrees_with_float32_at_full_size(version):
    model = with_weights(ConvNeXt('atto', version)).cuda()
    x = torch.randn(FULL_SIZE, device='cuda')
    with torch.no_grad():
        expected = model(x)
        maps = model.half()(x.half())
    for actual, wanted in zip(maps, expected, strict=True):
        # float16 keeps 11 bits, three more than bfloat16: an eighth of its bound, rounded up.
        assert max_error(actual, wanted) < 0.005


def test_float16_on_a_cpu_is_refused(tiny_arch):
    model = ConvNeXt(tiny_arch).half()
    with pytest.raises(ValueError, match='float16 on a CPU .*; use bfloat16 or float32'):
        model(torch.randn(1, 3, 32, 32).half())


@pytest.mark.skipif(torch.__version__ < (2, 2), reason='this torch has none on a CPU')
def test_layer_norm_does_not_overflow_in_float16():
    layer = LayerNorm2d(16)
    nn.init.normal_(layer.weight)
    x = (1000 * torch.randn(1, 16, *STRIDE_4)).half()
    assert x.abs().amax(1).min() > 300

    variance = (x - x.mean(1, keepdim=True)).square().mean(1)  # as written by hand in float16
    assert torch.isinf(variance).any()

    expected = layer(x.float())
    actual = layer.half()(x)
    assert actual.dtype == torch.float16
    assert torch.isfinite(actual).all()
    assert max_error(actual, expected) < 2e-3  # measured: 8e-4


def grn(channels: int, gamma: float | None = None) -> GlobalResponseNorm:
    layer = GlobalResponseNorm(channels)
    for param in layer.parameters():
        nn.init.normal_(param) if gamma is None else nn.init.constant_(param, gamma)
    return layer


@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_grn_does_not_overflow_in_half_precision(dtype, bound):
    layer = grn(16)
    x = (1000 * torch.randn(1, *STRIDE_4, 16)).to(dtype)

    length = x.square().sum((1, 2)).sqrt()  # as written by hand in float16
    assert torch.isinf(length).all() == (dtype == torch.float16)

    expected = layer(x.float())
    actual = layer.to(dtype)(x)
    assert actual.dtype == dtype
    assert torch.isfinite(actual).all()
    assert max_error(actual, expected) < bound  # measured: 1.1e-3 and 6e-3


def test_grn_does_not_overflow_where_one_channel_dominates():
    """Its share of the mean norm is near the number of channels, 1280 in atto's last stage."""
    layer = grn(1280, gamma=0.1)
    x = torch.randn(1, 8, 8, 1280) * 1e-3
    x[..., 7] = 300.0
    expected = layer(x)
    assert 30_000 < expected.max() < 65_504
    actual = layer.half()(x.half())
    assert torch.isfinite(actual).all()
    assert max_error(actual, expected) < 4e-3
