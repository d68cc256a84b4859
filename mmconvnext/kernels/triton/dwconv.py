# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The 7x7 depthwise convolution and LayerNorm of (N, H, W, C), and the backward of both.

A program handles a few columns and 32 channels and walks down the rows of a strip. It reads each
row once, at seven shifts along W that hit the L1 cache, and adds it to the seven output rows it
contributes to. These stay in registers until their last row is read. So an element costs 7 loads
for its 49 products, not 49. The taps come from the L1 cache, at offsets known at compile time.

The normalization is a separate, in-place kernel. Fused into this one, it would need all channels of
a pixel in one program: C is 3 * 2^k, so a quarter of the lanes would idle, a warp would load more
taps per product, and each row would need a reduction across lanes. We estimate that this would take
longer than one more pass over the tensor through the L2 cache.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from .checks import check
from .dwconv_weight import weight_gradient
from .norm import normalize_, normalize_backward
from .tiles import BLOCK_C, cut

# Our choice: two columns of two channels per thread, 28 sums and 72 to 80 registers when compiled
# for sm_80 and sm_90. With 2 warps it is twice the work per loaded tap, at 128 to 153 registers.
BLOCK_W = 16
WARPS = 4


def dwconv_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """7x7 depthwise convolution, padding 3, then LayerNorm over C without affine.

    Args:
        x: (N, H, W, C), contiguous.
        weight: (C, 1, 7, 7).
        bias: (C,).
        eps: added to the variance.
        dtype: type of the result.

    Returns:
        The result and float32 1 / standard deviation (N, H, W).
    """
    check('x', x, (None,) * 4)
    check('weight', weight, (x.shape[3], 1, 7, 7), contiguous=False)
    check('bias', bias, x.shape[3:])
    out = _convolve(x, weight, dtype, bias=bias)
    return out, normalize_(out, eps)


def dwconv_norm_backward(
    grad: Tensor,
    normalized: Tensor,
    rstd: Tensor,
    x: Tensor,
    weight: Tensor,
    residual: Tensor,
    weights: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Backward of :func:`dwconv_norm`.

    Args:
        grad: gradient of the result.
        normalized: the first result.
        rstd: the second result.
        x: the input.
        weight: (C, 1, 7, 7).
        residual: is added to the gradient of x.
        weights: compute the gradients of weight and bias; otherwise they are zero.

    Returns:
        The gradient of x in its type, and of weight and bias in float32.
    """
    check('x', x, (None,) * 4)
    for name, map_ in (('grad', grad), ('normalized', normalized), ('residual', residual)):
        check(name, map_, x.shape)
    check('rstd', rstd, x.shape[:3])
    check('weight', weight, (x.shape[3], 1, 7, 7), contiguous=False)
    grad = normalize_backward(grad, normalized, rstd)
    dx = _convolve(grad, weight, x.dtype, residual=residual)
    if weights:
        return dx, *weight_gradient(x, grad)
    zeros = torch.zeros(50 * x.shape[3], dtype=torch.float32, device=x.device)
    return dx, zeros[: 49 * x.shape[3]].view(weight.shape), zeros[49 * x.shape[3] :]


def _by_tap(weight: Tensor) -> Tensor:
    """(C, 1, 7, 7) -> (blocks, 49, BLOCK_C): neighbouring lanes read neighbouring numbers."""
    flat = weight.reshape(-1, 49)
    if missing := -len(flat) % BLOCK_C:
        flat = F.pad(flat, (0, 0, 0, missing))
    return flat.view(-1, BLOCK_C, 49).transpose(1, 2).contiguous()


def _convolve(
    x: Tensor,
    weight: Tensor,
    dtype: torch.dtype,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Convolve and add ``bias``; or convolve with the transpose and add ``residual``."""
    out = torch.empty_like(x, dtype=dtype)
    if not x.numel():
        return out
    samples, height, width, channels = x.shape
    tiles = cut(x, BLOCK_W)
    _walk[(samples * tiles.places * tiles.blocks,)](
        x,
        _by_tap(weight),
        bias,
        residual,
        out,
        height,
        width,
        channels // tiles.vec,
        tiles.rows,
        tiles.strips,
        VEC=tiles.vec,
        BLOCK_W=BLOCK_W,
        BLOCK_C=BLOCK_C,
        num_warps=WARPS,
    )
    return out


@triton.jit(do_not_specialize=['height', 'width', 'vectors', 'rows', 'strips'])
def _walk(
    x,
    weight,
    bias,
    residual,
    out,
    height,
    width,
    vectors,
    rows,
    strips,
    VEC: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    channels = vectors * VEC  # only tells the compiler how rows are aligned
    # Blocks of channels follow each other, then columns, then strips: neighbours share cache lines.
    blocks, columns = tl.cdiv(channels, BLOCK_C), tl.cdiv(width, BLOCK_W)
    block, place = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    strip = place // columns
    sample, first = strip // strips, strip % strips * rows
    last = tl.minimum(first + rows, height)
    c = block * BLOCK_C + tl.arange(0, BLOCK_C)
    w = place % columns * BLOCK_W + tl.arange(0, BLOCK_W)
    inside = (w < width)[:, None] & (c < channels)[None, :]
    at = w[:, None] * channels + c[None, :]
    taps = weight + block * (49 * BLOCK_C) + tl.arange(0, BLOCK_C)

    start = tl.zeros([BLOCK_W, BLOCK_C], tl.float32)
    if bias is not None:
        start += tl.load(bias + c, mask=c < channels, other=0.0).to(tl.float32)[None, :]
    sums = (start,) * 7  # of the output rows h - 3 to h + 3
    for h in range(first - 3, last + 3):
        row = (sample * height + h).to(tl.int64) * width * channels
        if (h >= 0) & (h < height):
            for kw in tl.static_range(7):
                column = w + (kw - 3)
                seen = ((column >= 0) & (column < width))[:, None] & (c < channels)[None, :]
                value = tl.load(x + (row + (kw - 3) * channels) + at, mask=seen, other=0.0)
                value = value.to(tl.float32)
                for i in tl.static_range(7):  # for the output row h - 3 + i, h is row 6 - i of 7
                    tap = (6 - i) * 7 + kw if residual is None else 48 - ((6 - i) * 7 + kw)
                    factor = tl.load(taps + tap * BLOCK_C).to(tl.float32)[None, :]
                    sums = sums[:i] + (tl.fma(value, factor, sums[i]),) + sums[i + 1 :]
        if h - 3 >= first:
            done = row - 3 * width.to(tl.int64) * channels
            total = sums[0]
            if residual is not None:
                total += tl.load(residual + done + at, mask=inside, other=0.0).to(tl.float32)
            tl.store(out + done + at, total.to(out.dtype.element_ty), mask=inside)
        sums = sums[1:] + (start,)
