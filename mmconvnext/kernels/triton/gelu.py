# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The exact GELU and its gradient, with the sums over the hidden tensor in the same pass.

A program handles a block of columns and a segment of the rows of one sample. So it loads the
sample's slope once, and sums over samples and over rows are both sums over programs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .checks import check
from .sums import sum_parts

# Our choice: 128 columns of bfloat16 are 256 bytes per row; 8 elements per thread are 16 bytes.
BLOCK_K = 128
BLOCK_M = 8
# Our choice: about 8 programs for each of the 132 multiprocessors of an H100. A constant, since the
# number of parts decides the order of a sum, and every device must give the same result.
PROGRAMS = 1024


def gelu_backward(grad: Tensor, h: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor]:
    """Recompute gelu(h), and its gradient, which shares the error function.

    Args:
        grad: (M, K), overwritten by ``(grad + slope * gelu(h)) * gelu'(h)``.
        h: (M, K), the input of the activation.
        slope: float32 (N, K) or None; row m belongs to sample ``m // (M // N)``.

    Returns:
        gelu(h) in the type of h, and the sum of the new ``grad`` over the rows, float32 (K,).
    """
    samples = 1 if slope is None else slope.shape[0]
    parts, act = _first_stage(h, samples, grad, slope)
    return act, sum_parts(parts.view(1, -1, h.shape[1]))[0]


def gelu_squares(h: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """gelu(h) of (M, K) and, float32 (samples, K), its squares summed over each sample's rows."""
    parts, act = _first_stage(h, samples, None, None)
    return act, sum_parts(parts)


def _first_stage(
    h: Tensor, samples: int, grad: Tensor | None, slope: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sums as (samples, segments, K), and gelu(h); without ``grad`` sums of squares."""
    check('h', h, (None, None))
    check('grad', grad, h.shape)
    check('slope', slope, (None, h.shape[1]))
    rows, columns = h.shape
    if samples and rows % samples:
        raise ValueError(f'{rows} rows cannot be divided equally among {samples} samples')
    act = torch.empty_like(h)
    if not h.numel():
        return h.new_zeros((samples, 0, columns), dtype=torch.float32), act
    rows //= samples
    blocks = triton.cdiv(columns, BLOCK_K)
    segments = max(1, min(triton.cdiv(rows, BLOCK_M), PROGRAMS // (blocks * samples)))
    # Each program gets whole blocks of rows, so fewer programs may be needed.
    length = triton.cdiv(triton.cdiv(rows, segments), BLOCK_M) * BLOCK_M
    segments = triton.cdiv(rows, length)
    parts = h.new_empty((samples, segments, columns), dtype=torch.float32)
    _gelu[(samples * segments * blocks,)](
        h,
        act,
        grad,
        slope,
        parts,
        rows,
        segments,
        length,
        columns,
        BLOCK_M=BLOCK_M,
        BLOCK_K=BLOCK_K,
    )
    return parts, act


@triton.jit(do_not_specialize=['rows', 'segments', 'length'])
def _gelu(
    h,
    act,
    grad,
    slope,
    parts,
    rows,
    segments,
    length,
    columns,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    blocks = tl.cdiv(columns, BLOCK_K)
    part = tl.program_id(0) // blocks
    sample = part // segments
    k = tl.program_id(0) % blocks * BLOCK_K + tl.arange(0, BLOCK_K)
    m = tl.arange(0, BLOCK_M)
    first = part % segments * length
    last = tl.minimum(first + length, rows)
    if slope is not None:
        tilt = tl.load(slope + sample.to(tl.int64) * columns + k, mask=k < columns, other=0.0)
    total = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(first, last, BLOCK_M):
        inside = (start + m < last)[:, None] & (k < columns)[None, :]
        row = sample.to(tl.int64) * rows + start
        at = row * columns + (m[:, None] * columns + k[None, :])
        x = tl.load(h + at, mask=inside, other=0.0).to(tl.float32)
        cdf = 0.5 + 0.5 * tl.erf(x * 0.7071067811865476)  # 1 / sqrt(2)
        y = x * cdf
        tl.store(act + at, y.to(act.dtype.element_ty), mask=inside)
        if grad is not None:
            pdf = 0.3989422804014327 * tl.exp(-0.5 * x * x)  # 1 / sqrt(2 pi)
            g = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
            if slope is not None:
                g += tilt[None, :] * y
            g *= cdf + x * pdf
            tl.store(grad + at, g.to(grad.dtype.element_ty), mask=inside)
            total += g
        else:
            total += y * y
    to = part.to(tl.int64) * columns + k
    tl.store(parts + to, tl.sum(total, axis=0), mask=k < columns)
