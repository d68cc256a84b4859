# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the pointwise layers and their gradients equal the reference, whether a device has its
own operators or composes them from smaller ones, for any number of pixels and channels.
"""

from types import SimpleNamespace

import pytest
import torch

from mmconvnext.kernels import reference
from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.ops.fold import branch_scale, fold_composite
from mmconvnext.kernels.ops.mlp import mlp_backward_composite, mlp_composite

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
OPS = torch.ops.mmconvnext
WAYS = {
    'operators': OPS,
    'composed': SimpleNamespace(
        fold=fold_composite, mlp=mlp_composite, mlp_backward=mlp_backward_composite
    ),
}
# Pixels of a sample, channels, hidden channels: many pixels for each channel and few, rows that end
# within a tile and within a chunk, columns that end within a block and within a register.
SIZES = [(1, 8, 32), (7, 24, 96), (2100, 8, 32), (333, 40, 160), (130, 100, 50), (45, 5, 15)]
EPS = 1e-6


def case(size: tuple, samples: int, grn: object, dtype: torch.dtype) -> tuple:
    """Rows to compute on, and parameters in the order of the reference."""
    pixels, channels, hidden = size
    rows = [torch.randn(pixels * samples, channels).to(dtype) for _ in range(3)]
    parameters = [
        *(1 + 0.2 * torch.randn(channels), 0.2 * torch.randn(channels)),
        *(torch.randn(hidden, channels) / channels**0.5, torch.randn(hidden)),
        *(torch.randn(channels, hidden) / hidden**0.5, torch.randn(channels)),
        None if grn is True else torch.randn(channels),  # 'both': layer scale beside GRN
        *((torch.randn(hidden), torch.randn(hidden)) if grn else (None, None)),
    ]
    return rows, parameters


def compute(way, rows: list, parameters: list, samples: int, save: bool, *wanted: bool) -> list:
    """Output and gradients, with a scale of 1.25."""
    normalized, residual, grad = rows
    norm_weight, norm_bias, *layers, gamma, grn_gamma, grn_beta = parameters
    out_scale = branch_scale(gamma, 1.25, layers[3])
    folded = way.fold(norm_weight, norm_bias, *layers, out_scale, grn_beta, normalized.dtype)
    out, hidden, squares = way.mlp(normalized, residual, *folded, grn_gamma, EPS, samples, save)
    assert len(hidden) == (len(normalized) if save else 0)
    given = (grad, normalized, hidden, squares, *parameters, 1.25, EPS, samples)
    grads = way.mlp_backward(*given, *wanted)
    return [out, *grads]


def exact(rows: list, parameters: list, samples: int) -> list:
    leaves = [None if t is None else t.double().requires_grad_() for t in (rows[0], *parameters)]
    out = reference.mlp(leaves[0], rows[1].double(), *leaves[1:], 1.25, EPS, samples)
    grads = iter(torch.autograd.grad(out, [t for t in leaves if t is not None], rows[2].double()))
    return [out.detach(), *(None if t is None else next(grads) for t in leaves)]


@pytest.mark.parametrize('save', [True, False], ids=['saved', 'again'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, 'mixed'], ids=str)
@pytest.mark.parametrize('grn', [False, True, 'both'], ids=['v1', 'v2', 'both'])
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('way', WAYS)
def test_same_output_and_gradients(way, size, grn, dtype, save):
    samples = 2 if size[0] % 2 else 3
    stream, dtype = (torch.float32, torch.bfloat16) if dtype == 'mixed' else (dtype, dtype)
    rows, parameters = case(size, samples, grn, dtype)
    rows[1:] = [t.to(stream) for t in rows[1:]]  # as under autocast
    found = compute(WAYS[way], rows, parameters, samples, save)
    # Of float32 sums; or of the rounding of what is stored and multiplied to 8 bits.
    bound = 2e-5 if dtype == torch.float32 else 4e-2
    for i, (a, b) in enumerate(zip(found, exact(rows, parameters, samples), strict=True)):
        if b is None:
            assert a.numel() == 0
            continue
        assert a.shape == b.shape
        assert a.dtype == (rows[1].dtype if i == 0 else dtype if i == 1 else torch.float32)
        assert ((a.double() - b).abs().max() / b.abs().max()).item() < bound, i


def test_a_map_of_zeros_has_finite_gradients_through_grn():
    rows, parameters = case((64, 8, 32), 2, True, torch.float32)
    parameters[3].zero_()  # with a zero input, no hidden channel is active
    parameters[1].zero_()
    rows[0].zero_()
    for way in WAYS.values():
        for save in (True, False):
            assert all(t.isfinite().all() for t in compute(way, rows, parameters, 2, save))


@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('size', [(2100, 8, 32), (96, 40, 160), (60, 49, 196)], ids=str)
def test_threads_do_not_change_a_bit(size, dtype, grn):
    rows, parameters = case(size, 2, grn, dtype)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(compute(OPS, rows, parameters, 2, False))
    torch.set_num_threads(2)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_no_rows_are_no_error_and_others_that_do_not_fit_are():
    rows, parameters = case((6, 8, 32), 2, True, torch.float32)
    *layers, _, grn_gamma, grn_beta = parameters
    folded = OPS.fold(*layers, None, grn_beta, torch.float32)
    empty = rows[0][:0]
    out, hidden, squares = OPS.mlp(empty, empty, *folded, grn_gamma, EPS, 0, True)
    assert (out.shape, hidden.shape, squares.shape) == ((0, 8), (0, 32), (0, 32))
    _, hidden, squares = OPS.mlp(*rows[:2], *folded, grn_gamma, EPS, 2, True)
    wide = (rows[0].bfloat16(), rows[1], *folded)
    swapped = (*layers[:4], *layers[2:4])
    given = [rows[2], rows[0], hidden, squares, *parameters, 1.0, EPS, 2]
    nothing = [empty, empty, hidden[:0], squares[:0], *given[4:-1], 0]
    grads = OPS.mlp_backward(*nothing)
    assert [g.shape for g in grads] == [g.shape for g in (empty, *OPS.mlp_backward(*given)[1:])]
    assert not any(g.any() for g in grads)
    assert [g.numel() for g in OPS.mlp_backward(*nothing, False, False)[1:]] == [
        *(0, 0, 0, 32, 0, 8, 0, 32, 0)
    ]

    thin = (*(torch.zeros(3, 0),) * 2, torch.zeros(8, 0), torch.zeros(8), torch.zeros(0, 8))
    thin = (*thin, torch.zeros(0))

    # Where oneDNN multiplies no bfloat16, `fold` gives float32 for it.
    has_bf16 = OPS.fold(*layers, None, grn_beta, torch.bfloat16)[0].dtype == torch.bfloat16
    fault = ('what `fold` returns for BFloat16, got Float', 'mlp', (*wide, None, EPS, 1, True))
    narrow = [fault] if has_bf16 else []

    def replaced(index: int) -> list:
        return [*given[:index], given[index][:1], *given[index + 1 :]]

    for match, name, arguments in [
        ('samples must divide the 12 rows, got 5', 'mlp', (*rows[:2], *folded, None, EPS, 5, True)),
        ('residual must have', 'mlp', (rows[0], rows[1][:3], *folded, None, EPS, 1, True)),
        ('grn_gamma must have', 'mlp', (*rows[:2], *folded, grn_gamma[:1], EPS, 1, True)),
        *narrow,
        ('weight2 must have', 'fold', (*swapped, None, None, torch.float32)),
        ('normalized must have', 'mlp_backward', replaced(1)),
        ('hidden must have', 'mlp_backward', replaced(2)),
        ('squares must have', 'mlp_backward', replaced(3)),
        ('weight1 must have channels', 'mlp', (*thin, None, EPS, 1, True)),
    ]:
        with pytest.raises(RuntimeError, match=match):
            getattr(OPS, name)(*arguments)


@pytest.mark.parametrize('save', [True, False], ids=['saved', 'again'])
@pytest.mark.parametrize('grn', [False, True], ids=['v1', 'v2'])
@pytest.mark.parametrize('size', [(2100, 8, 32), (45, 5, 15)], ids=str)
@pytest.mark.parametrize('way', WAYS)
def test_gradients_that_nobody_wants_are_left_out(way, size, grn, save):
    rows, parameters = case(size, 2, grn, torch.float32)
    whole = compute(WAYS[way], rows, parameters, 2, save)[1:]
    for wanted in [(True, False), (False, True), (False, False)]:
        part = compute(WAYS[way], rows, parameters, 2, save, *wanted)[1:]
        left_out = (set() if wanted[0] else {1, 2, 3}) | (set() if wanted[1] else {5, 7, 9})
        for i, (found, expected) in enumerate(zip(part, whole, strict=True)):
            if i in left_out or not expected.numel():
                assert found.numel() == 0, i
            else:
                assert (found - expected).abs().max() <= 1e-5 * expected.abs().max(), i
