# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""LayerNorm over the channels without affine, and its backward.

A program holds all channels of a few pixels, so each tensor is read and written once. Both kernels
depend on the number of pixels through one plain integer.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Our choice: 2048 elements are 16 registers per thread in each of the two or three tiles.
TILE = 2048
THREADS = 128


def normalize_(x: Tensor, eps: float) -> Tensor:
    """Normalize (N, H, W, C) in place; returns 1 / standard deviation, float32 (N, H, W)."""
    rstd = torch.empty(x.shape[:-1], dtype=torch.float32, device=x.device)
    if x.numel():
        grid, blocks = _launch(x)
        _normalize[grid](x, rstd, rstd.numel(), x.shape[-1], eps, **blocks)
    return rstd


def normalize_backward(grad: Tensor, normalized: Tensor, rstd: Tensor) -> Tensor:
    """Gradient of the input of the normalization, in the type of ``grad``."""
    out = torch.empty_like(grad)
    if grad.numel():
        grid, blocks = _launch(grad)
        pixels, channels = rstd.numel(), grad.shape[-1]
        _normalize_backward[grid](grad, normalized, rstd, out, pixels, channels, **blocks)
    return out


def _launch(x: Tensor) -> tuple[tuple[int], dict[str, int]]:
    """The grid, and the block sizes, which depend only on the channels."""
    channels = x.shape[-1]
    block_c = triton.next_power_of_2(channels)
    block_m = max(1, TILE // block_c)
    warps = max(1, min(16, block_m * block_c // TILE * (THREADS // 32)))
    pixels = x.numel() // channels
    blocks = dict(BLOCK_M=block_m, BLOCK_C=block_c, num_warps=warps)
    return (triton.cdiv(pixels, block_m),), blocks


@triton.jit(do_not_specialize=['pixels', 'eps'])
def _normalize(x, rstd, pixels, channels, eps, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.arange(0, BLOCK_C)
    inside = (m < pixels)[:, None] & (c < channels)[None, :]
    at = m.to(tl.int64)[:, None] * channels + c[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, axis=1) / channels
    value = tl.where(inside, value - mean[:, None], 0.0)
    # Subtract what the rounding of the mean has left: it matters if the variance is near 0.
    mean = tl.sum(value, axis=1) / channels
    value = tl.where(inside, value - mean[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(value * value, axis=1) / channels + eps)
    tl.store(x + at, (value * scale[:, None]).to(x.dtype.element_ty), mask=inside)
    tl.store(rstd + m, scale, mask=m < pixels)


@triton.jit(do_not_specialize=['pixels'])
def _normalize_backward(
    grad,
    normalized,
    rstd,
    out,
    pixels,
    channels,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    # out = rstd * (grad - mean(grad) - normalized * mean(grad * normalized))
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    c = tl.arange(0, BLOCK_C)
    inside = (m < pixels)[:, None] & (c < channels)[None, :]
    at = m.to(tl.int64)[:, None] * channels + c[None, :]
    value = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
    unit = tl.load(normalized + at, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(rstd + m, mask=m < pixels, other=0.0)
    mean = tl.sum(value, axis=1) / channels
    along = tl.sum(value * unit, axis=1) / channels
    value = (value - mean[:, None] - unit * along[:, None]) * scale[:, None]
    tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)
