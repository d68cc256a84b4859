# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ConvNeXt block from fused operators: same mathematics, fewer passes.

What is saved for backward: the input, the normalized map and, unless it is computed again, the
hidden map before the activation: 6 or 2 times the input, where the plain path saves 12. A dropped
sample is not computed.

Shapes: x is (N, H, W, C).
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import mlp
from .mlp import OPS

PARAMETERS = 11  # of a block, see FusedBlock.forward
# Where a map has this many pixels for each channel, its hidden map is computed again in backward:
# the weights are small beside it then. On a CPU that is faster than writing the hidden map and
# reading it in stages 1 and 2 of ConvNeXt-T, and up to 3 % slower for forward and backward in stage
# 3 of 800 x 1344 pixels. Our choice; the same on CUDA, where it is not measured.
RECOMPUTE = 8


class FusedBlock(torch.autograd.Function):
    """``x + scale * gamma * pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))`` of the kept samples.

    ``gamma`` (layer scale) may be None, and ``grn_gamma`` with ``grn_beta``. ``keep`` is None or a
    list of the samples to compute, in order; the others pass unchanged.
    """

    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        dw_weight: Tensor,
        dw_bias: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        gamma: Tensor | None,
        grn_gamma: Tensor | None,
        grn_beta: Tensor | None,
        eps: float,
        grn_eps: float,
        scale: float,
        keep: list[int] | None,
    ) -> Tensor:
        parameters = (dw_weight, dw_bias, norm_weight, norm_bias, weight1, bias1)
        parameters += (weight2, bias2, gamma, grn_gamma, grn_beta)
        ctx.keep, ctx.scale, ctx.grn_eps = keep, scale, grn_eps
        if keep is not None and not keep:
            ctx.save_for_backward(*parameters)
            return x.view_as(x)
        with torch.autocast(x.device.type, enabled=False):
            kept = _take(x, keep)
            normalized, rstd = OPS.dwconv_norm(kept, dw_weight, dw_bias, eps)
            out_scale = mlp.scaled(gamma, scale, bias2)
            layers = (norm_weight, norm_bias, weight1, bias1, weight2, bias2, out_scale, grn_beta)
            pixels = _rows(kept)
            out, hidden, squares = OPS.mlp(
                *(_rows(normalized), pixels, *OPS.fold(*layers, x.dtype)),
                *(grn_gamma, grn_eps, len(kept), len(pixels) < RECOMPUTE * pixels.shape[1]),
            )
        ctx.save_for_backward(*parameters, kept, normalized, rstd, hidden, squares)
        return _put(x, out.view_as(kept), keep)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no more
        parameters = saved[:PARAMETERS]
        if ctx.keep is not None and not ctx.keep:
            # Zeros, as multiplying by a mask gives: AdamW's moments go on, DDP waits for nobody.
            zeros = [None if p is None else torch.zeros_like(p) for p in parameters]
            return grad, *zeros, None, None, None, None
        with torch.autocast(grad.device.type, enabled=False):
            grads = _backward(ctx, grad.contiguous(), parameters, *saved[PARAMETERS:])
        return *grads, None, None, None, None


def infer(
    x: Tensor,
    dw_weight: Tensor,
    dw_bias: Tensor,
    layers: tuple[Tensor, Tensor, Tensor, Tensor],
    grn_gamma: Tensor | None,
    eps: float,
    grn_eps: float,
) -> Tensor:
    """The block without gradients, on the layers that the operator ``fold`` returns."""
    normalized, _ = OPS.dwconv_norm(x, dw_weight, dw_bias, eps)
    out, _, _ = OPS.mlp(_rows(normalized), _rows(x), *layers, grn_gamma, grn_eps, len(x), False)
    return out.view_as(x)


def _backward(
    ctx,
    grad: Tensor,
    parameters: tuple,
    kept: Tensor,
    normalized: Tensor,
    rstd: Tensor,
    hidden: Tensor,
    squares: Tensor,
) -> tuple:
    kept_grad = _take(grad, ctx.keep)
    d_normalized, *grads = OPS.mlp_backward(
        *(_rows(kept_grad), _rows(normalized), hidden, squares),
        *(*parameters[2:], ctx.scale, ctx.grn_eps, len(kept)),
    )
    dx, d_dw_weight, d_dw_bias = OPS.dwconv_norm_backward(
        d_normalized.view_as(kept), normalized, rstd, kept, parameters[0], kept_grad
    )
    given = [None if p is None else g for p, g in zip(parameters[2:], grads)]
    return _put(grad, dx, ctx.keep), d_dw_weight, d_dw_bias, *given


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
