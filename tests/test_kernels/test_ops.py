# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: each compiled operator computes what `kernels/reference.py` says, in float64."""

import os
import subprocess
import sys

import pytest
import torch

from mmconvnext.kernels import reference
from mmconvnext.kernels.ops import capability

OPS = torch.ops.mmconvnext
compiled = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
# (N, H, W, C): vectors and tiles that fit and that do not, maps smaller than the 7x7 kernel.
SHAPES = [
    (2, 13, 17, 40),
    (1, 5, 3, 96),
    (1, 1, 1, 16),
    (3, 30, 26, 24),
    (1, 9, 8, 7),
    (0, 4, 4, 8),
]
DTYPES = [torch.float32, torch.bfloat16]
# Relative to the largest value: float32 rounding; bfloat16 has 8 bits, inputs are rounded alike.
BOUNDS = {torch.float32: 1e-6, torch.bfloat16: 6e-3}


def assert_close(found: torch.Tensor, expected: torch.Tensor, bound: float) -> None:
    assert found.shape == expected.shape
    if expected.numel():
        error = (found.double() - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
        assert error <= bound, f'{error:.1e} > {bound:.1e}'


def convolution(shape, dtype):
    channels = shape[3]
    weight, bias = torch.randn(channels, 1, 7, 7) * 0.1, torch.randn(channels)
    return torch.randn(shape).to(dtype), weight, bias


@compiled
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_dwconv_norm(shape, dtype):
    x, weight, bias = convolution(shape, dtype)
    found = OPS.dwconv_norm(x, weight, bias, 1e-6, dtype)
    expected = reference.dwconv_norm(x.double(), weight.double(), bias.double(), 1e-6)
    assert found[0].dtype == dtype and found[1].dtype == torch.float32
    for pair in zip(found, expected):
        assert_close(*pair, BOUNDS[dtype])


@compiled
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_dwconv_norm_backward(shape, dtype):
    x, weight, bias = convolution(shape, dtype)
    grad, residual = (torch.randn(shape).to(dtype) for _ in range(2))
    normalized, rstd = OPS.dwconv_norm(x, weight, bias, 1e-6, dtype)
    found = OPS.dwconv_norm_backward(grad, normalized, rstd, x, weight, residual)
    wide = [t.double() for t in (grad, x, weight, bias)]
    expected = reference.dwconv_norm_backward(*wide, 1e-6, residual.double())
    for pair in zip(found, expected):
        assert_close(*pair, BOUNDS[dtype])


def test_reference_of_the_convolution_is_torchs():
    x, weight, bias = (t.double() for t in convolution((2, 6, 7, 5), torch.float64))
    out, rstd = reference.dwconv_norm(x, weight, bias, 1e-6)
    y = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=3, groups=5)
    y = y.permute(0, 2, 3, 1)
    torch.testing.assert_close(out, torch.nn.functional.layer_norm(y, (5,), eps=1e-6))
    torch.testing.assert_close(rstd, 1 / (y.std(-1, unbiased=False).square() + 1e-6).sqrt())


@compiled
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize(
    ('size', 'samples'),
    [
        *((size, samples) for size in ((6, 7), (300, 40), (3, 16)) for samples in (None, 1, 3)),
        ((0, 8), None),
    ],
    ids=str,
)
def test_gelu_backward(size, samples, dtype):
    h, grad = (torch.randn(size).mul(3).to(dtype) for _ in range(2))
    slope = torch.randn(samples, size[1]) if samples else None
    wide = None if slope is None else slope.double()
    expected = reference.gelu_backward(grad.double(), h.double(), wide)
    act, sums = OPS.gelu_backward(grad, h, slope)  # grad is overwritten
    for pair in zip((grad, act, sums), expected):
        assert_close(*pair, BOUNDS[dtype])


@compiled
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('samples', [1, 2, 5])
def test_gelu_squares(samples, dtype):
    h = torch.randn(samples * 23, 40).mul(3).to(dtype)
    for pair in zip(OPS.gelu_squares(h, samples), reference.gelu_squares(h.double(), samples)):
        assert_close(*pair, BOUNDS[dtype])


@compiled
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_the_stream_may_be_wider_than_the_branch(shape):
    x, weight, bias = convolution(shape, torch.float32)
    grad, residual = torch.randn(shape).bfloat16(), torch.randn(shape)
    normalized, rstd = OPS.dwconv_norm(x, weight, bias, 1e-6, torch.bfloat16)
    assert normalized.dtype == torch.bfloat16
    found = OPS.dwconv_norm_backward(grad, normalized, rstd, x, weight, residual)
    assert found[0].dtype == torch.float32
    wide = [t.double() for t in (grad, x, weight, bias)]
    expected = reference.dwconv_norm_backward(*wide, 1e-6, residual.double())
    for pair in zip(found, expected):
        assert_close(*pair, BOUNDS[torch.bfloat16])


@compiled
def test_equal_channels_are_normalized_to_zero():
    x, weight, _ = convolution((1, 4, 4, 96), torch.float32)
    bias = torch.full((96,), 100.3)
    normalized, rstd = OPS.dwconv_norm(x, torch.zeros_like(weight), bias, 1e-6, x.dtype)
    assert normalized.abs().max() < 1e-5
    assert_close(rstd, torch.full((1, 4, 4), 1e3, dtype=torch.float64), 1e-5)


@compiled
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_gelu_makes_no_denormal_numbers(dtype):
    """Products with them are slow, by a factor of 50 for a whole block."""
    h = torch.linspace(-40, 0, 4096).view(64, 64).to(dtype)
    act, _ = OPS.gelu_squares(h, 1)
    slope = torch.ones_like(h)
    OPS.gelu_backward(slope, h, None)
    smallest = torch.finfo(torch.float32).tiny
    for values in (act, slope):
        assert ((values == 0) | (values.abs() >= smallest)).all()
        assert (values[h < -14] == 0).all() and (values[(h > -12.5) & (h < -1)] != 0).all()


@compiled
def test_gelu_of_huge_values_is_torchs():
    h = torch.tensor([1e38, -1e38, 3e19, -3e19, 50, float('inf'), -float('inf'), float('nan')])
    leaf = h.clone().requires_grad_()
    expected = torch.nn.functional.gelu(leaf)
    expected.sum().backward()
    expected = expected.detach().where(h != float('inf'), h)  # torch's vector code gives NaN there
    grad = torch.ones(1, len(h))
    act, _ = OPS.gelu_backward(grad, h[None], None)
    torch.testing.assert_close(act[0], expected, equal_nan=True)
    torch.testing.assert_close(grad[0], leaf.grad, equal_nan=True)


@compiled
def test_gelu_is_exact_in_its_tails():
    h = torch.linspace(-12, 12, 4096).view(64, 64)
    act, _ = OPS.gelu_squares(h, 1)
    expected = torch.nn.functional.gelu(h.double())
    assert (act - expected).abs().max() < 1e-6
    act, _ = OPS.gelu_squares(h.bfloat16(), 1)
    assert (act - torch.nn.functional.gelu(h.bfloat16().double())).abs().max() < 4e-2


@compiled
@pytest.mark.parametrize('given', ['in', 'out', 'shift', 'all', 'none'])
@pytest.mark.parametrize('size', [(12, 5), (96, 384), (7, 40)], ids=str)
def test_scale_linear_and_its_gradients(size, given):
    outputs, inputs = size
    weight, bias = torch.randn(size), torch.randn(outputs)
    in_scale = torch.randn(inputs) if given in ('in', 'all') else None
    in_shift = torch.randn(inputs) if given in ('shift', 'all') else None
    out_scale = torch.randn(outputs) if given in ('out', 'all') else None
    arguments = (weight, bias, in_scale, in_shift, out_scale)
    leaves = [None if t is None else t.double().requires_grad_() for t in arguments]
    expected = reference.scale_linear(*leaves)
    found = OPS.scale_linear(*arguments, torch.float32)
    for pair in zip(found, expected):
        assert_close(pair[0], pair[1].detach(), 1e-6)
    grads = torch.randn(size), torch.randn(outputs)
    asked = [t for t in leaves if t is not None]
    wide = iter(torch.autograd.grad(expected, asked, [g.double() for g in grads]))
    for leaf, grad in zip(leaves, OPS.scale_linear_backward(*grads, *arguments)):
        if leaf is not None:
            assert_close(grad, next(wide), 2e-6)


@compiled
def test_threads_do_not_change_a_bit():
    x, weight, bias = convolution((2, 24, 24, 40), torch.float32)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        out = OPS.dwconv_norm(x, weight, bias, 1e-6, x.dtype)
        back = OPS.dwconv_norm_backward(x, *out, x, weight, x)
        results.append(
            [*out, *back, *OPS.gelu_backward(x.view(-1, 40).clone(), x.view(-1, 40), None)]
        )
    torch.set_num_threads(2)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


@compiled
def test_other_types_are_refused():
    x, weight, bias = convolution((1, 4, 4, 8), torch.float64)
    with pytest.raises(RuntimeError, match='tensors must be float32 or bfloat16, got Double'):
        OPS.dwconv_norm(x.double(), weight, bias, 1e-6, torch.float64)
    with pytest.raises(RuntimeError, match='stream must be float32 or, like the branch, Float'):
        OPS.dwconv_norm(x.bfloat16(), weight, bias, 1e-6, torch.float32)


@compiled
def test_shapes_and_strides_that_would_be_read_out_of_bounds_are_refused():
    x, weight, bias = convolution((2, 5, 6, 8), torch.float32)
    out, rstd = OPS.dwconv_norm(x, weight, bias, 1e-6, x.dtype)
    h, square = torch.randn(10, 12), torch.randn(12, 12)
    turned = x.permute(0, 2, 1, 3)
    freed = torch.randn(4, 4)
    freed.untyped_storage().resize_(0)
    calls = [
        ('x must be contiguous', 'dwconv_norm', (turned, weight, bias, 1e-6, x.dtype)),
        (r'x must have the shape \[-1', 'dwconv_norm', (x[0], weight, bias, 1e-6, x.dtype)),
        ('weight must have the shape', 'dwconv_norm', (x, weight[:1], bias, 1e-6, x.dtype)),
        ('bias must have the shape', 'dwconv_norm', (x, weight, bias[:1], 1e-6, x.dtype)),
        ('residual must have', 'dwconv_norm_backward', (x, out, rstd, x, weight, x[:1])),
        ('rstd must have', 'dwconv_norm_backward', (x, out, rstd[:1], x, weight, x)),
        ('grad must be contiguous', 'dwconv_norm_backward', (turned.mT, out, rstd, x, weight, x)),
        ('grad must have norm', 'dwconv_norm_backward', (x.bfloat16(), out, rstd, x, weight, x)),
        ('grad must have the shape', 'gelu_backward', (h[:3], h, None)),
        ('slope must have the shape', 'gelu_backward', (h, h.clone(), h[:1, :3])),
        ('samples must divide the 10 rows, got 3', 'gelu_squares', (h, 3)),
        ('samples must divide the 10 rows, got 0', 'gelu_squares', (h, 0)),
        ('h must be contiguous', 'gelu_squares', (h.t(), 1)),
        ('bias must have', 'scale_linear', (square, h[0, :3], None, None, None, x.dtype)),
        ('out_scale must have', 'scale_linear', (square, h[0], None, None, h[0, :1], x.dtype)),
        ('in_shift must have', 'scale_linear', (square, h[0], None, h[0, :1], None, x.dtype)),
        ('grad_weight must have', 'scale_linear_backward', (h, h[0], square, h[0], *[None] * 3)),
        ('h must be floating-point, got Int', 'gelu_squares', (h.int(), 1)),
        ('has no memory', 'fingerprint', ([freed],)),
        ('has no memory', 'gelu_squares', (freed, 1)),
    ]
    for match, name, arguments in calls:
        if match == 'grad must be contiguous':
            arguments = (x.transpose(1, 2).contiguous().transpose(1, 2), *arguments[1:])
        with pytest.raises(RuntimeError, match=match):
            getattr(OPS, name)(*arguments)


@compiled
def test_fingerprint_sees_every_change():
    tensors = [torch.randn(70, 900), torch.randn(3), torch.zeros(0), torch.randn(65).bfloat16()]
    marks = {OPS.fingerprint(tensors)}
    assert OPS.fingerprint([t.clone() for t in tensors]) in marks
    changes = [
        lambda: tensors[0].data[69, 899].add_(1),
        lambda: tensors[0].data[0, 0].mul_(1.0001),
        lambda: tensors[1].data.neg_(),
        lambda: tensors[3].data[64:].add_(1),
        lambda: tensors[0].data.copy_(tensors[0].flip(0).clone()),
        lambda: tensors[0].data[:, 1].neg_(),  # the highest bits of many words
        lambda: tensors[0].data[:, 1::2].neg_(),
        lambda: [tensors[0].data[0, i].neg_() for i in (1, 129)],
        lambda: tensors.reverse(),
        lambda: tensors.append(torch.zeros(1)),
        lambda: tensors.append(torch.zeros(1, dtype=torch.bfloat16)),
    ]
    for change in changes:
        change()
        marks.add(OPS.fingerprint(tensors))
    assert len(marks) == 1 + len(changes)


@compiled
def test_fingerprint_depends_on_values_alone():
    tensor = torch.randn(300, 400)
    marks = set()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        marks |= {OPS.fingerprint([tensor]), OPS.fingerprint([tensor.t().contiguous().t()])}
    torch.set_num_threads(2)
    assert len(marks) == 1


PROGRAM = """
import torch
from mmconvnext.kernels.ops import capability, has_products
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

for grn in (False, True):
    torch.manual_seed(0)
    plain, fast = (
        ConvNeXtBlock(24, Design(), grn=grn, layer_scale_init_value=1.0 - grn, kernels=kernels)
        for kernels in ('plain', 'fast')
    )
    fast.load_state_dict(plain.state_dict())
    for autocast, bound in ((False, 1e-5), (True, 3e-2)):
        found = []
        for block in (plain, fast):
            block.zero_grad()
            x = torch.randn(2, 24, 9, 8, generator=torch.Generator().manual_seed(1))
            x.requires_grad_()
            with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
                out = block(x)
            out.square().sum().backward()
            found.append([out.detach(), x.grad, *(p.grad for p in block.parameters())])
        for a, b in zip(*found):
            assert (a - b).abs().max() <= bound * max(a.abs().max(), 1e-3), (grn, autocast)
print(capability()[0], has_products())
"""


@compiled
@pytest.mark.parametrize('isa', ['AVX512_CORE', 'AVX2', 'SSE41'])
def test_onednn_without_newer_instructions(isa):
    """oneDNN has no bfloat16 products, or none at all, and raises an error of its own type."""
    env = {**os.environ, 'ONEDNN_MAX_CPU_ISA': isa, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'ignore', '-c', PROGRAM]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(capability()[0])
