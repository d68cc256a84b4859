# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The pointwise layers of the block from the smaller operators and torch's matrix products.

Used where a device has no `mlp` of its own: CUDA, and a CPU without oneDNN's products. What is
taken into the weights instead of passing over the maps (``scale_linear``): LayerNorm's affine into
the first layer; layer scale, the 1 / keep of stochastic depth and GRN's shift into the second.

Rows of a map are pixels, M; C channels, K hidden ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import LIBRARY

OPS = torch.ops.mmconvnext


def fold(
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    out_scale: Tensor | None,
    grn_beta: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights (K, C) and (C, K) and biases of both layers with all that can be taken into them."""
    first = OPS.scale_linear(weight1, bias1, norm_weight, norm_bias, None, dtype)
    return *first, *OPS.scale_linear(weight2, bias2, None, grn_beta, out_scale, dtype)


def mlp(
    normalized: Tensor,
    residual: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    grn_gamma: Tensor | None,
    grn_eps: float,
    samples: int,
    save_hidden: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """``residual + linear2(grn(gelu(linear1(normalized))))`` of rows; layers as ``fold`` gives.

    Returns it with the hidden map before the activation (M, K) and GRN's sums of squares
    (samples, K), which are empty where nothing needs them.
    """
    h = torch.addmm(bias1, normalized, weight1.t())
    if grn_gamma is None:
        act = F.gelu(h) if save_hidden else torch.ops.aten.gelu_(h)
        squares = h.new_empty((0, h.shape[1]), dtype=torch.float32)
        branch = torch.addmm(bias2, act, weight2.t())
    else:
        act, squares = OPS.gelu_squares(h, samples)
        response = _grn(squares, grn_gamma, grn_eps)[0]
        weights = _weigh(weight2, response).transpose(1, 2)
        branch = torch.baddbmm(bias2, act.unflatten(0, (samples, -1)), weights).flatten(0, 1)
    # The branch is whole before it meets the residual, which may be of a wider type: what is small
    # beside the residual is not lost.
    return residual + branch, h if save_hidden else h.new_empty((0, h.shape[1])), squares


def mlp_backward(
    grad: Tensor,
    normalized: Tensor,
    hidden: Tensor,
    squares: Tensor,
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
    first: bool = True,
    second: bool = True,
) -> tuple[Tensor, ...]:
    """Gradients of normalized and of the nine parameters from norm_weight to grn_beta.

    All float32 but the first; an empty tensor stands for a parameter that is None. Without
    ``first`` those of norm and weight1 are empty too, without ``second`` those of weight2, gamma
    and grn_beta: with the products over all pixels that they are made of.
    """
    d_bias2 = grad.sum(0, dtype=torch.float32)
    grad = grad.to(normalized.dtype)
    out_scale = scaled(gamma, scale, bias2)
    layers = (norm_weight, norm_bias, weight1, bias1, weight2, bias2, out_scale, grn_beta)
    scaled1, shifted1, scaled2, _ = fold(*layers, normalized.dtype)
    if not len(hidden):
        hidden = torch.addmm(shifted1, normalized, scaled1.t())
    d_grn_gamma = _none(grad)
    if grn_gamma is None:
        d = grad @ scaled2
        act, d_bias1 = OPS.gelu_backward(d, hidden, None)  # d is now the gradient of hidden
        d_scaled2 = grad.t() @ act if second else torch.zeros_like(scaled2)
    else:
        response, relative, mean = _grn(squares, grn_gamma, grn_eps)
        act = F.gelu(hidden).unflatten(0, (samples, -1))
        g = grad.unflatten(0, (samples, -1))
        # The gradient of each sample's own second layer, (N, C, K): all that GRN needs to know.
        products = torch.bmm(g.transpose(1, 2), act).float()
        d_response = (products * scaled2.float()).sum(1)
        d_scaled2 = (products * response[:, None]).sum(0)
        d_grn_gamma = (d_response * relative).sum(0)
        slope = _grn_slope(d_response * grn_gamma.float(), squares, mean, grn_eps)
        del act
        d = torch.bmm(g, _weigh(scaled2, response)).flatten(0, 1)
        act, d_bias1 = OPS.gelu_backward(d, hidden, slope)
    del act
    d_weight2, d_bias2, _, d_grn_beta, d_out_scale = OPS.scale_linear_backward(
        d_scaled2, d_bias2, weight2, bias2, None, grn_beta, out_scale
    )
    d_weight1, d_norm_weight, d_norm_bias = _none(grad), _none(grad), _none(grad)
    if first:
        d_weight1, d_bias1, d_norm_weight, d_norm_bias, _ = OPS.scale_linear_backward(
            d.t() @ normalized, d_bias1, weight1, bias1, norm_weight, norm_bias, None
        )
    return (
        *(d @ scaled1, d_norm_weight, d_norm_bias, d_weight1, d_bias1),
        *(d_weight2 if second else _none(grad), d_bias2),
        _none(grad) if gamma is None or not second else d_out_scale * scale,
        d_grn_gamma,
        _none(grad) if grn_beta is None or not second else d_grn_beta,
    )


def _none(like: Tensor) -> Tensor:
    """What stands for no gradient: a new one each time, as results must not share memory."""
    return like.new_empty(0, dtype=torch.float32)


def scaled(gamma: Tensor | None, scale: float, like: Tensor) -> Tensor | None:
    """What the second layer's outputs are multiplied by, or None for 1."""
    if gamma is not None:
        return gamma.detach().float() * scale
    return None if scale == 1 else torch.full_like(like, scale, dtype=torch.float32)


# Global response normalization, ConvNeXt V2 section 3.2, as a weight of each sample and channel:
# y = act * (1 + gamma * relative) + beta, relative = norm / (mean of norms + eps). It is taken into
# the weights of each sample, so the hidden map is not passed over again.


def _grn(squares: Tensor, gamma: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Response and relative norms (N, K) and mean norm (N, 1)."""
    norms = squares.sqrt()
    mean = norms.mean(dim=1, keepdim=True)
    relative = norms / (mean + eps)
    return 1 + gamma.float() * relative, relative, mean


def _grn_slope(d_relative: Tensor, squares: Tensor, mean: Tensor, eps: float) -> Tensor:
    """What times act is the gradient of act by way of the norms, (N, K)."""
    norms = squares.sqrt()
    total = mean + eps
    share = (d_relative * norms).sum(1, keepdim=True) / (total * total * norms.shape[1])
    d_norms = d_relative / total - share
    return torch.where(norms > 0, d_norms / norms, 0)  # a norm of 0 has act = 0 everywhere


def _weigh(weight: Tensor, response: Tensor) -> Tensor:
    """Each sample's weights, (N, C, K)."""
    return (weight.float() * response[:, None]).to(weight.dtype)


for _function in (fold, mlp, mlp_backward):
    LIBRARY.impl(_function.__name__, _function, 'CompositeExplicitAutograd')
