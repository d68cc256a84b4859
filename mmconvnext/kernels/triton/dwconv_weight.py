# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Gradients of weight and bias of the 7x7 depthwise convolution.

A program walks down strips of rows and keeps seven rows of the input in registers. It reads each
row of the output's gradient once, at seven shifts along W: 8 loads for 49 products. The 49 sums and
that of the bias stay in registers over all strips; at the end they are reduced over the columns.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .sums import sum_parts
from .tiles import BLOCK_C, PROGRAMS, cut

# Our choice: one column of two channels per thread, 100 sums and 161 to 168 registers when compiled
# for sm_80 and sm_90; one channel would take 124, but a third more instructions per product.
BLOCK_W = 8
WARPS = 4


def weight_gradient(x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Float32 (C, 1, 7, 7) and (C,), given the input and the gradient of the output."""
    samples, height, width, channels = x.shape
    tiles = cut(x, BLOCK_W)
    tasks = samples * tiles.places
    count = min(tasks, max(1, PROGRAMS // max(1, tiles.blocks)))
    parts = torch.empty((1, count, 50 * channels), dtype=torch.float32, device=x.device)
    if parts.numel():
        _weight_parts[(count * tiles.blocks,)](
            x,
            grad,
            parts,
            height,
            width,
            channels // tiles.vec,
            tiles.rows,
            tiles.strips,
            tasks,
            count,
            VEC=tiles.vec,
            BLOCK_W=BLOCK_W,
            BLOCK_C=BLOCK_C,
            num_warps=WARPS,
        )
    total = sum_parts(parts, taps=49)[0]
    return total[: 49 * channels].view(channels, 1, 7, 7), total[49 * channels :]


@triton.jit(do_not_specialize=['height', 'width', 'vectors', 'rows', 'strips', 'tasks', 'count'])
def _weight_parts(
    x,
    grad,
    parts,
    height,
    width,
    vectors,
    rows,
    strips,
    tasks,
    count,
    VEC: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    channels = vectors * VEC  # only tells the compiler how rows are aligned
    blocks, columns = tl.cdiv(channels, BLOCK_C), tl.cdiv(width, BLOCK_W)
    part = tl.program_id(0) // blocks
    c = tl.program_id(0) % blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    zero = tl.zeros([BLOCK_W, BLOCK_C], tl.float32)
    sums = (zero,) * 50  # 49 taps, and the bias
    for task in range(part, tasks, count):
        strip = task // columns
        sample, first = strip // strips, strip % strips * rows
        last = tl.minimum(first + rows, height)
        w = task % columns * BLOCK_W + tl.arange(0, BLOCK_W)
        inside = (w < width)[:, None] & (c < channels)[None, :]
        at = w[:, None] * channels + c[None, :]
        window = (zero,) * 7  # rows h - 3 to h + 3 of x
        for h in range(first - 6, last):
            row = (sample * height + h).to(tl.int64) * width * channels
            value = zero
            if (h + 3 >= 0) & (h + 3 < height):
                below = row + 3 * width.to(tl.int64) * channels
                value = tl.load(x + below + at, mask=inside, other=0.0).to(tl.float32)
            window = window[1:] + (value,)
            if h >= first:
                for kw in tl.static_range(7):  # x at w meets the output at w + 3 - kw
                    column = w + (3 - kw)
                    seen = ((column >= 0) & (column < width))[:, None] & (c < channels)[None, :]
                    value = tl.load(grad + (row + (3 - kw) * channels) + at, mask=seen, other=0.0)
                    value = value.to(tl.float32)
                    for kh in tl.static_range(7):
                        new = tl.fma(value, window[kh], sums[kh * 7 + kw])
                        sums = sums[: kh * 7 + kw] + (new,) + sums[kh * 7 + kw + 1 :]
                    if kw == 3:
                        sums = sums[:49] + (sums[49] + value,)
    to = part.to(tl.int64) * 50 * channels + c
    for t in tl.static_range(50):
        tl.store(parts + to + t * channels, tl.sum(sums[t], axis=0), mask=c < channels)
