# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the operators of :mod:`.ops` compute, in plain PyTorch: their specification, for the tests.

Works in any floating-point type; the tests use float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dwconv_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Depthwise 7x7 convolution of (N, H, W, C), then LayerNorm over C without affine.

    Returns the normalized map and 1 / standard deviation of each pixel, (N, H, W).
    """
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=3, groups=x.shape[3])
    y = y.permute(0, 2, 3, 1)
    rstd = (y.var(dim=-1, unbiased=False) + eps).rsqrt()
    return (y - y.mean(dim=-1, keepdim=True)) * rstd[..., None], rstd


def dwconv_norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float, residual: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`dwconv_norm` for x (plus ``residual``), weight and bias.

    The operator takes the normalized map and rstd instead of bias and eps.
    """
    leaves = [t.detach().requires_grad_() for t in (x, weight, bias)]
    with torch.enable_grad():
        out = dwconv_norm(*leaves, eps)[0]
    dx, dw, db = torch.autograd.grad(out, leaves, grad)
    return dx + residual, dw, db


def gelu_backward(grad: Tensor, h: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """For (M, K): dh = (grad + slope * act) * gelu'(h), act = gelu(h), and the column sums of dh.

    ``slope`` is (N, K), where every sample has M / N rows, or None. The operator overwrites grad
    with dh and returns the other two.
    """
    leaf = h.detach().requires_grad_()
    with torch.enable_grad():
        act = F.gelu(leaf)
    if slope is not None:
        grad = grad + slope.repeat_interleave(len(h) // len(slope), 0) * act.detach()
    (dh,) = torch.autograd.grad(act, leaf, grad)
    return dh, act.detach(), dh.sum(0)


def gelu_squares(h: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """act = gelu(h) of (M, K), and the per-sample column sums of act squared, (N, K)."""
    act = F.gelu(h)
    return act, act.square().unflatten(0, (samples, -1)).sum(1)


def scale_linear(
    weight: Tensor,
    bias: Tensor,
    in_scale: Tensor | None,
    in_shift: Tensor | None,
    out_scale: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer that computes ``out_scale * linear(in_scale * x + in_shift)``.

    The operator has one more argument, the dtype of its results.
    """
    if in_shift is not None:
        bias = bias + weight @ in_shift
    if in_scale is not None:
        weight = weight * in_scale
    if out_scale is not None:
        weight, bias = weight * out_scale[:, None], bias * out_scale
    return weight, bias


def mlp(
    normalized: Tensor,
    residual: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    gamma: Tensor | None,
    grn_gamma: Tensor | None,
    grn_beta: Tensor | None,
    scale: float,
    grn_eps: float,
    samples: int,
) -> Tensor:
    """``residual + scale * gamma * linear2(grn(gelu(linear1(affine(normalized)))))``, rows (M, C).

    The operators need two steps: ``fold`` takes the parameters, ``mlp`` takes its results.
    """
    act = F.gelu(F.linear(normalized * norm_weight + norm_bias, weight1, bias1))
    if grn_gamma is not None:
        act = act.unflatten(0, (samples, -1))
        norm = act.square().sum(1, keepdim=True).sqrt()
        relative = norm / (norm.mean(-1, keepdim=True) + grn_eps)
        act = (act + act * grn_gamma * relative + grn_beta).flatten(0, 1)
    branch = F.linear(act, weight2, bias2) * scale
    return residual + (branch if gamma is None else branch * gamma)
