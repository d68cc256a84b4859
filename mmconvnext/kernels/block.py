# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ConvNeXt block from fused operators: same mathematics, fewer passes.

What is saved for backward: the input, the normalized map and, unless it is computed again, the
hidden map before the activation: 6 or 2 times the input, where the plain path saves 12. A dropped
sample is not computed.

Shapes: x is (N, H, W, C). Its type is that of the residual stream, ``Block.dtype`` that of the
branch; they differ under autocast, where the stream stays float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import mlp
from .mlp import OPS

# Where a map has this many pixels for each channel, its hidden map is computed again in backward:
# the weights are small beside it then. On a CPU that is faster than writing the hidden map and
# reading it in stages 1 and 2 of ConvNeXt-T, and up to 3 % slower for forward and backward in stage
# 3 of 800 x 1344 pixels. Our choice; the same on CUDA, where it is not measured.
RECOMPUTE = 8


class Parameters(NamedTuple):
    """Of a block; C channels, K hidden ones."""

    dw_weight: Tensor  # (C, 1, 7, 7)
    dw_bias: Tensor  # (C,)
    norm_weight: Tensor  # (C,)
    norm_bias: Tensor  # (C,)
    weight1: Tensor  # (K, C)
    bias1: Tensor  # (K,)
    weight2: Tensor  # (C, K)
    bias2: Tensor  # (C,)
    gamma: Tensor | None  # layer scale (C,)
    grn_gamma: Tensor | None  # (K,)
    grn_beta: Tensor | None  # (K,)


class Options(NamedTuple):
    """How a block is computed.

    ``keep`` lists the samples to compute, in order, None for all; the others pass unchanged.
    ``scale`` is what stochastic depth multiplies a kept branch with.
    """

    eps: float
    grn_eps: float
    dtype: torch.dtype
    scale: float = 1.0
    keep: list[int] | None = None


class FusedBlock(torch.autograd.Function):
    """``x + scale * gamma * pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))`` of the kept samples."""

    @staticmethod
    def forward(ctx, x: Tensor, options: Options, *parameters: Tensor | None) -> Tensor:
        p = Parameters(*parameters)
        keep = options.keep
        ctx.options = options
        if keep is not None and not keep:
            ctx.save_for_backward(*p)
            return x.clone()  # no view: what writes to the result must not write to x
        with torch.autocast(x.device.type, enabled=False):
            kept = _take(x, keep)
            normalized, rstd = OPS.dwconv_norm(
                kept, p.dw_weight, p.dw_bias, options.eps, options.dtype
            )
            pixels = _rows(kept)
            out, hidden, squares = OPS.mlp(
                *(_rows(normalized), pixels, *fold(p, options)),
                *(p.grn_gamma, options.grn_eps, len(kept)),
                len(pixels) < RECOMPUTE * pixels.shape[1],
            )
        ctx.save_for_backward(*p, x, normalized, rstd, hidden, squares)
        # No view of what was made here: autograd forbids to write to such a result.
        return _put(x, torch.ops.aten._unsafe_view(out, kept.shape), keep)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no more
        p, maps = Parameters(*saved[: len(Parameters._fields)]), saved[len(Parameters._fields) :]
        with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
            if not maps:
                # Zeros, as multiplying by a mask gives: AdamW's moments go on, DDP waits for nobody
                grads = grad, *(None if t is None else torch.zeros_like(t) for t in p)
            else:
                grads = _backward(ctx.options, grad.contiguous(), p, *maps)
        if maps and torch.is_grad_enabled():  # create_graph=True
            grads = _Once.apply(grads, grad, maps[0], *p)
        return grads[0], None, *grads[1:]


def fold(p: Parameters, options: Options) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both pointwise layers with norm, scale and shift taken into them, as ``mlp`` wants them."""
    with torch.no_grad(), torch.autocast(p.weight1.device.type, enabled=False):
        out_scale = mlp.scaled(p.gamma, options.scale, p.bias2)
        layers = (p.norm_weight, p.norm_bias, p.weight1, p.bias1, p.weight2, p.bias2)
        return OPS.fold(*layers, out_scale, p.grn_beta, options.dtype)


def infer(x: Tensor, p: Parameters, options: Options, folded: tuple[Tensor, ...]) -> Tensor:
    """The block without gradients, of all samples, on what :func:`fold` returned."""
    with torch.autocast(x.device.type, enabled=False):
        normalized, _ = OPS.dwconv_norm(x, p.dw_weight, p.dw_bias, options.eps, options.dtype)
        out, _, _ = OPS.mlp(
            *(_rows(normalized), _rows(x), *folded, p.grn_gamma, options.grn_eps, len(x), False),
        )
    return out.view_as(x)


def _backward(
    options: Options,
    grad: Tensor,
    p: Parameters,
    x: Tensor,
    normalized: Tensor,
    rstd: Tensor,
    hidden: Tensor,
    squares: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of x and of the parameters."""
    kept, kept_grad = _take(x, options.keep), _take(grad, options.keep)
    d_normalized, *grads = OPS.mlp_backward(
        *(_rows(kept_grad), _rows(normalized), hidden, squares),
        *(*p[2:], options.scale, options.grn_eps, len(kept)),
    )
    dx, d_dw_weight, d_dw_bias = OPS.dwconv_norm_backward(
        d_normalized.view_as(kept), normalized, rstd, kept, p.dw_weight, kept_grad
    )
    given = [None if t is None else g for t, g in zip(p[2:], grads)]
    return _put(grad, dx, options.keep), d_dw_weight, d_dw_bias, *given


class _Once(torch.autograd.Function):
    """Gradients, as something that depends on what they were made of but cannot be differentiated.

    torch's own ``once_differentiable`` does not say what they depend on, so ``autograd.grad`` with
    ``allow_unused`` passes it by, and a Hessian is zero.
    """

    @staticmethod
    def forward(ctx, grads: tuple[Tensor | None, ...], *sources: Tensor | None) -> tuple:
        return grads

    @staticmethod
    def backward(ctx, *_) -> None:
        raise RuntimeError(
            'the fast ConvNeXt block has no second derivative (gradient penalty, Hessian, '
            "create_graph=True); build the backbone with kernels='plain', which has"
        )


def _rows(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])


def _slice(keep: list[int]) -> slice | None:
    """Samples that lie side by side need no copy."""
    together = keep[-1] - keep[0] == len(keep) - 1
    return slice(keep[0], keep[-1] + 1) if together else None


def _take(x: Tensor, keep: list[int] | None) -> Tensor:
    if keep is None:
        return x
    part = _slice(keep)
    return x[part] if part else x[keep]


def _put(x: Tensor, values: Tensor, keep: list[int] | None) -> Tensor:
    """``x`` with the kept samples replaced by ``values``."""
    if keep is None:
        return values
    out = x.clone()
    out[_slice(keep) or keep] = values
    return out
