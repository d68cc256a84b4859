# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the GELU kernels compute what PyTorch does in float64, whatever the number of rows."""

import sys

import pytest
import torch
import torch.nn.functional as F

from ..conftest import BOUNDS, DEVICE

# (samples, rows of each, columns): one of each, blocks that fit, blocks that do not.
SHAPES = [(1, 1, 1), (2, 8, 128), (3, 13, 40), (1, 65, 200)]


def inputs(samples, rows, columns, dtype=torch.float32):
    h, grad = torch.randn(2, samples * rows, columns).mul(2).to(DEVICE, dtype)
    return h, grad, torch.randn(samples, columns).to(DEVICE)


def expected(grad, h, slope):
    h = h.double().requires_grad_()
    act = F.gelu(h)
    upstream = grad.double()
    if slope is not None:
        rows = len(h) // max(1, len(slope))
        upstream = upstream + slope.double().repeat_interleave(rows, 0) * act.detach()
    act.backward(upstream)
    return act.detach(), h.grad


def assert_close(found, wanted, bound):
    assert found.shape == wanted.shape
    if wanted.numel():
        error = (found.double() - wanted).abs().max() / wanted.abs().max()
        assert error <= bound, f'{error:.1e} > {bound:.1e}'


@pytest.mark.parametrize('dtype', BOUNDS, ids=str)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('sloped', [True, False])
def test_backward(kernels, shape, dtype, sloped):
    h, grad, slope = inputs(*shape, dtype)
    slope = slope if sloped else None
    wanted_act, wanted = expected(grad, h, slope)
    act, bias = kernels.gelu_backward(grad, h, slope)
    assert (act.dtype, grad.dtype, bias.dtype) == (dtype, dtype, torch.float32)
    assert_close(act, wanted_act, BOUNDS[dtype])
    assert_close(grad, wanted, BOUNDS[dtype])
    # Summed before rounding, so as exact as float32 in every type; terms of a sum may cancel.
    assert_close(bias, wanted.sum(0), 5e-5)


@pytest.mark.parametrize('dtype', BOUNDS, ids=str)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_squares(kernels, shape, dtype):
    samples, rows, columns = shape
    h = inputs(*shape, dtype)[0]
    act, squares = kernels.gelu_squares(h, samples)
    wanted = F.gelu(h.double())
    assert (act.dtype, squares.dtype) == (dtype, torch.float32)
    assert_close(act, wanted, BOUNDS[dtype])
    assert_close(squares, wanted.square().view(samples, rows, columns).sum(1), 1e-5)


@pytest.mark.parametrize('programs', [4, 1])  # for each of the 2 samples at least one
def test_few_programs_take_several_blocks_of_rows_each(kernels, monkeypatch, programs):
    monkeypatch.setattr(sys.modules[f'{kernels.__name__}.gelu'], 'PROGRAMS', programs)
    h, grad, slope = inputs(2, 37, 8)
    wanted = expected(grad, h, slope)[1]
    bias = kernels.gelu_backward(grad, h, slope)[1]
    assert_close(grad, wanted, 1e-5)
    assert_close(bias, wanted.sum(0), 1e-5)


def test_no_rows_give_zeros(kernels):
    h, grad, slope = inputs(0, 4, 8)
    for tilt in (slope, None):
        act, bias = kernels.gelu_backward(grad, h, tilt)
        assert act.shape == (0, 8) and torch.equal(bias.cpu(), torch.zeros(8))
    act, squares = kernels.gelu_squares(h, 0)
    assert act.shape == (0, 8) and squares.shape == (0, 8)
    for dtype in BOUNDS:
        squares = kernels.gelu_squares(h.to(dtype), 2)[1]
        assert torch.equal(squares.cpu(), torch.zeros(2, 8)) and squares.dtype == torch.float32


def test_rows_that_samples_cannot_share(kernels):
    with pytest.raises(ValueError, match='7 rows cannot be divided equally among 2'):
        kernels.gelu_squares(torch.zeros(7, 8), 2)


def test_image_sizes_compile_nothing_new(kernels, variants):
    def run(samples, rows):
        h, grad, slope = inputs(samples, rows, 40)
        kernels.gelu_backward(grad, h, slope)
        kernels.gelu_squares(h, samples)

    run(2, 17)
    first = set(variants)
    assert len(first) == 3  # backward, squares, and the sums of both
    for samples, rows in [(1, 1), (16, 16), (3, 256), (1, 4099), (1, 9000)]:
        run(samples, rows)
    assert variants == first
