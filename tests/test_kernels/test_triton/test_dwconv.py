# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the depthwise kernels compute what PyTorch does in float64, whatever the image size."""

import sys

import pytest
import torch
import torch.nn.functional as F

from ..conftest import BOUNDS, DEVICE

# (N, H, W, C), and the least rows of a strip: smaller than the 7x7 kernel; two strips of rows by
# two blocks of columns, C odd; two blocks of channels, the second not full; long strips.
SHAPES = [((3, 1, 1, 8), 8), ((1, 3, 17, 7), 2), ((2, 2, 3, 40), 8), ((1, 11, 2, 3), 8)]
CASES = [(*case, torch.float32) for case in SHAPES]
CASES += [((2, 2, 9, 7), 8, torch.bfloat16), ((2, 2, 9, 7), 8, torch.float16)]
EPS = 1e-6
DTYPE = torch.float32


def inputs(shape, dtype=torch.float32) -> dict[str, torch.Tensor]:
    channels = shape[-1]
    maps = {name: torch.randn(shape).to(DEVICE, dtype) for name in ('x', 'grad', 'residual')}
    weight, bias = torch.randn(channels, 1, 7, 7) * 0.1, torch.randn(channels)
    return maps | dict(weight=weight.to(DEVICE), bias=bias.to(DEVICE))


def run(kernels, x, weight, bias, grad, residual) -> list[torch.Tensor]:
    normalized, rstd = kernels.dwconv_norm(x, weight, bias, EPS, grad.dtype)
    return [
        normalized,
        rstd,
        *kernels.dwconv_norm_backward(grad, normalized, rstd, x, weight, residual),
    ]


def expected(x, weight, bias, grad, residual) -> list[torch.Tensor]:
    x, weight, bias = (t.double().requires_grad_() for t in (x, weight, bias))
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=3, groups=len(bias))
    y = y.permute(0, 2, 3, 1)
    normalized = F.layer_norm(y, (len(bias),), eps=EPS)
    normalized.backward(grad.double())
    rstd = (y.var(-1, correction=0) + EPS).rsqrt()
    return [normalized, rstd, x.grad + residual.double(), weight.grad, bias.grad]


def assert_close(found, wanted, bound):
    assert found.shape == wanted.shape and found.is_contiguous()
    if wanted.numel():
        error = (found.double() - wanted).abs().max() / wanted.abs().max()
        assert error <= bound, f'{error:.1e} > {bound:.1e}'


@pytest.mark.parametrize(('shape', 'rows', 'dtype'), CASES, ids=str)
def test_as_in_float64(kernels, shape, rows, dtype, monkeypatch):
    monkeypatch.setattr(sys.modules[f'{kernels.__name__}.tiles'], 'MIN_ROWS', rows)
    given = inputs(shape, dtype)
    found = run(kernels, **given)
    assert [t.dtype for t in found] == [dtype, torch.float32, dtype, torch.float32, torch.float32]
    for one, wanted in zip(found, expected(**given)):
        assert_close(one, wanted, BOUNDS[dtype])


def test_the_stream_may_be_wider_than_the_branch(kernels):
    given = inputs((1, 5, 6, 8), torch.bfloat16)
    given |= {name: given[name].float() for name in ('x', 'residual')}
    found = run(kernels, **given)
    assert [t.dtype for t in found[:3]] == [torch.bfloat16, torch.float32, torch.float32]
    for one, wanted in zip(found, expected(**given)):
        assert_close(one, wanted, BOUNDS[torch.bfloat16])


def test_equal_channels_are_normalized_to_zero(kernels):
    given = inputs((1, 1, 2, 96))
    given['weight'].zero_()
    given['bias'].fill_(100.3)
    normalized, rstd = kernels.dwconv_norm(given['x'], given['weight'], given['bias'], EPS, DTYPE)
    assert normalized.abs().max() < 1e-5
    assert_close(rstd, torch.full((1, 1, 2), 1e3, dtype=torch.float64), 1e-5)  # 1 / sqrt(eps)


def test_epsilon_is_the_callers_and_a_weight_may_have_any_strides(kernels):
    given = inputs((1, 2, 3, 4))
    turned = given['weight'].transpose(2, 3).contiguous().transpose(2, 3)
    found = kernels.dwconv_norm(given['x'], turned, given['bias'], 0.5, DTYPE)
    y = F.conv2d(given['x'].permute(0, 3, 1, 2), given['weight'], given['bias'], 1, 3, 1, 4)
    y = y.permute(0, 2, 3, 1).double()
    assert_close(found[0], F.layer_norm(y, (4,), eps=0.5), 1e-5)
    back = (given['grad'], *found, given['x'], given['weight'], given['residual'])
    turned = (*back[:4], turned, back[5])
    for one, other in zip(*(kernels.dwconv_norm_backward(*args) for args in (back, turned))):
        assert torch.equal(one, other)


def test_gradients_of_weights_that_nobody_wants_are_zero(kernels):
    given = inputs((1, 2, 3, 5), torch.bfloat16)
    results = kernels.dwconv_norm(given['x'], given['weight'], given['bias'], EPS, torch.bfloat16)
    args = (given['grad'], *results, given['x'], given['weight'].bfloat16(), given['residual'])
    dx, *wanted = kernels.dwconv_norm_backward(*args)
    again, *none = kernels.dwconv_norm_backward(*args, weights=False)
    assert torch.equal(dx, again) and all(t.any() for t in wanted)
    for zero, like in zip(none, wanted, strict=True):
        assert not zero.any() and (zero.shape, zero.dtype) == (like.shape, torch.float32)


def test_weights_may_have_the_type_of_the_map(kernels):
    given = inputs((1, 2, 3, 8), torch.bfloat16)
    given |= {name: given[name].bfloat16() for name in ('weight', 'bias')}
    for one, wanted in zip(run(kernels, **given), expected(**given)):
        assert_close(one, wanted, BOUNDS[torch.bfloat16])


def test_few_programs_take_several_strips_each(kernels, monkeypatch):
    given = inputs((2, 3, 9, 4))
    module = sys.modules[f'{kernels.__name__}.dwconv_weight']
    monkeypatch.setattr(sys.modules[f'{kernels.__name__}.tiles'], 'MIN_ROWS', 2)
    parts, sum_parts = [], module.sum_parts
    monkeypatch.setattr(
        module,
        'sum_parts',
        lambda given, taps: parts.append(given.shape[1]) or sum_parts(given, taps),
    )
    monkeypatch.setattr(module, 'PROGRAMS', 3)  # for 2 images x 2 strips x 2 blocks of columns
    for one, wanted in zip(run(kernels, **given), expected(**given)):
        assert_close(one, wanted, BOUNDS[torch.float32])
    assert parts == [3]


def test_twice_gives_the_same_bits(kernels):
    given = inputs((1, 1, 9, 4))
    for one, other in zip(run(kernels, **given), run(kernels, **given)):
        assert torch.equal(one, other)


@pytest.mark.parametrize('shape', [(0, 5, 3, 8), (2, 0, 3, 8)], ids=str)
def test_no_pixels_give_zeros(kernels, shape):
    found = run(kernels, **inputs(shape))
    assert [tuple(t.shape) for t in found] == [shape, shape[:3], shape, (8, 1, 7, 7), (8,)]
    assert all(not t.any() for t in found)


def test_nothing_is_launched_without_pixels(kernels, variants):
    """A GPU refuses a grid of no programs."""
    run(kernels, **inputs((0, 5, 3, 8)))
    assert {variant[0] for variant in variants} == {'_sum_parts'}  # which writes the zeros


def test_image_sizes_compile_nothing_new(kernels, variants):
    run(kernels, **inputs((2, 13, 17, 40)))
    first = set(variants)
    assert len(first) == 6  # forward: 2; backward: norm, input, weight, sums
    for shape in [(1, 1, 1, 40), (16, 16, 16, 40), (1, 256, 7, 40), (3, 5, 64, 40), (1, 64, 1, 40)]:
        run(kernels, **inputs(shape))
    assert variants == first
    run(kernels, **inputs((2, 13, 17, 40), torch.bfloat16))
    assert len(variants) == 11  # the sums are of float32 always
    run(kernels, **inputs((2, 13, 17, 7)))
    assert len(variants) == 16  # channels count: 7 cannot be read in pairs
