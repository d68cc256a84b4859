# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The pointwise half of the block, pwconv1 to residual, on rows of pixels; forward and backward.

The compositions are for devices without their own ``mlp``: CUDA, and a CPU whose torch does not
export oneDNN's matrix products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..parameters import Options, Parameters
from .define import OPS, composite, define, fake
from .fold import branch_scale, fold_composite
from .grn import respond, slope, weights_of_samples

define(
    'mlp(Tensor normalized, Tensor residual, Tensor weight1, Tensor bias1, Tensor weight2, '
    'Tensor bias2, Tensor? grn_gamma, float grn_eps, int samples, bool save_hidden) '
    '-> (Tensor, Tensor, Tensor)'
)


@fake('mlp')
def _(
    normalized: Tensor,
    residual: Tensor,
    weight1: Tensor,
    bias1,
    weight2,
    bias2,
    grn_gamma: Tensor | None,
    grn_eps,
    samples: int,
    save_hidden: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    M, K, N = normalized.shape[0], weight1.shape[0], samples
    hidden_MK = normalized.new_empty((M if save_hidden else 0, K))
    squares_NK = normalized.new_empty((0 if grn_gamma is None else N, K), dtype=torch.float32)
    return torch.empty_like(residual), hidden_MK, squares_NK


@composite('mlp')
def mlp_composite(
    normalized_MC: Tensor,
    residual_MC: Tensor,
    weight1_KC: Tensor,
    bias1: Tensor,
    weight2_CK: Tensor,
    bias2: Tensor,
    grn_gamma: Tensor | None,
    grn_eps: float,
    samples: int,
    save_hidden: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """``residual + linear2(grn(gelu(linear1(normalized))))``, with layers as ``fold`` returns them.

    Returns the sum (M, C), the hidden map before the activation (M, K) and GRN's sums of squares
    (N, K). The last two are empty where they are not needed.
    """
    hidden_MK = torch.addmm(bias1, normalized_MC, weight1_KC.t())
    if grn_gamma is None:
        act_MK = F.gelu(hidden_MK) if save_hidden else torch.ops.aten.gelu_(hidden_MK)
        squares_NK = hidden_MK.new_empty((0, hidden_MK.shape[1]), dtype=torch.float32)
        branch_MC = torch.addmm(bias2, act_MK, weight2_CK.t())
    else:
        act_MK, squares_NK = OPS.gelu_squares(hidden_MK, samples)
        weights_NCK = weights_of_samples(weight2_CK, respond(squares_NK, grn_gamma, grn_eps))
        act_NRK = act_MK.unflatten(0, (samples, -1))  # R rows per sample
        branch_MC = torch.baddbmm(bias2, act_NRK, weights_NCK.transpose(1, 2)).flatten(0, 1)
    if not save_hidden:
        hidden_MK = hidden_MK.new_empty((0, hidden_MK.shape[1]))
    # The residual may have a wider type. The branch is summed first and then added, so that its
    # small terms are not lost next to the residual.
    return residual_MC + branch_MC, hidden_MK, squares_NK


define(
    'mlp_backward(Tensor grad, Tensor normalized, Tensor hidden, Tensor squares, '
    'Tensor norm_weight, Tensor norm_bias, Tensor weight1, Tensor bias1, Tensor weight2, '
    'Tensor bias2, Tensor? gamma, Tensor? grn_gamma, Tensor? grn_beta, float scale, '
    'float grn_eps, int samples, bool first=True, bool second=True) '
    f'-> ({", ".join(["Tensor"] * 10)})'
)


def mlp_backward(
    grad_MC: Tensor,
    normalized_MC: Tensor,
    hidden_MK: Tensor,
    squares_NK: Tensor,
    p: Parameters,
    options: Options,
    samples: int,
    wanted: Parameters,
) -> tuple[Tensor, Parameters]:
    """Gradients of ``normalized`` and, in float32, of the parameters from norm to GRN.

    Args:
        grad_MC: gradient of the block's output.
        normalized_MC: what ``mlp`` was called with.
        hidden_MK: what ``mlp`` returned; if it has no rows, it is recomputed.
        squares_NK: what ``mlp`` returned.
        p: the parameters, before folding.
        options: those of the forward pass.
        samples: N.
        wanted: a bool for each parameter. Products over all rows are skipped if their results are
            not wanted, and these gradients are empty.
    """
    first = wanted.norm_weight or wanted.norm_bias or wanted.pwconv1_weight
    second = wanted.pwconv2_weight or wanted.gamma or wanted.grn_beta
    d_normalized, *grads = OPS.mlp_backward(
        grad_MC,
        normalized_MC,
        hidden_MK,
        squares_NK,
        *p.norm,
        *p.pwconv1,
        *p.pwconv2,
        p.gamma,
        *p.grn,
        options.scale,
        options.grn_eps,
        samples,
        first,
        second,
    )
    return d_normalized, Parameters(None, None, *grads)


@fake('mlp_backward')
def _(
    grad,
    normalized: Tensor,
    hidden,
    squares,
    norm_weight,
    norm_bias,
    weight1,
    bias1,
    weight2,
    bias2,
    gamma,
    grn_gamma,
    grn_beta,
    scale,
    grn_eps,
    samples,
    first=True,
    second=True,
):
    def like(parameter: Tensor | None, wanted: bool = True) -> Tensor:
        size = parameter.shape if parameter is not None and wanted else (0,)
        return normalized.new_empty(size, dtype=torch.float32)

    return (
        torch.empty_like(normalized),
        like(norm_weight, first),
        like(norm_bias, first),
        like(weight1, first),
        like(bias1),
        like(weight2, second),
        like(bias2),
        like(gamma, second),
        like(grn_gamma),
        like(grn_beta, second),
    )


@composite('mlp_backward')
def mlp_backward_composite(
    grad_MC: Tensor,
    normalized_MC: Tensor,
    hidden_MK: Tensor,
    squares_NK: Tensor,
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
    """See :func:`mlp_backward`; an empty tensor means no gradient."""
    out_scale = branch_scale(gamma, scale, bias2)
    folded = fold_composite(
        norm_weight=norm_weight,
        norm_bias=norm_bias,
        weight1=weight1,
        bias1=bias1,
        weight2=weight2,
        bias2=bias2,
        out_scale=out_scale,
        grn_beta=grn_beta,
        dtype=normalized_MC.dtype,
    )
    if not len(hidden_MK):
        hidden_MK = torch.addmm(folded.bias1, normalized_MC, folded.weight1.t())
    d_bias2 = grad_MC.sum(0, dtype=torch.float32)
    grad_MC = grad_MC.to(normalized_MC.dtype)
    if grn_gamma is None:
        d_grn_gamma = _empty(grad_MC)
        d_hidden, d_bias1, d_weight2 = _act_backward(grad_MC, hidden_MK, folded.weight2, second)
    else:
        d_hidden, d_bias1, d_weight2, d_grn_gamma = _grn_act_backward(
            grad_MC, hidden_MK, squares_NK, folded.weight2, grn_gamma, grn_eps
        )
    d_weight2, d_bias2, _, d_grn_beta, d_out_scale = OPS.scale_linear_backward(
        d_weight2, d_bias2, weight2, bias2, None, grn_beta, out_scale
    )
    d_norm_weight, d_norm_bias, d_weight1 = _empty(grad_MC), _empty(grad_MC), _empty(grad_MC)
    if first:
        d_weight1, d_bias1, d_norm_weight, d_norm_bias, _ = OPS.scale_linear_backward(
            d_hidden.t() @ normalized_MC, d_bias1, weight1, bias1, norm_weight, norm_bias, None
        )
    return (
        d_hidden @ folded.weight1,
        d_norm_weight,
        d_norm_bias,
        d_weight1,
        d_bias1,
        d_weight2 if second else _empty(grad_MC),
        d_bias2,
        d_out_scale * scale if second and gamma is not None else _empty(grad_MC),
        d_grn_gamma,
        d_grn_beta if second and grn_beta is not None else _empty(grad_MC),
    )


def _act_backward(
    grad_MC: Tensor, hidden_MK: Tensor, weight2_CK: Tensor, second: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """V1: gradients of hidden, of bias1 and, if ``second``, of the folded weight2."""
    d_MK = grad_MC @ weight2_CK
    act_MK, d_bias1 = OPS.gelu_backward(d_MK, hidden_MK, None)  # overwrites d_MK
    return d_MK, d_bias1, grad_MC.t() @ act_MK if second else torch.zeros_like(weight2_CK)


def _grn_act_backward(
    grad_MC: Tensor,
    hidden_MK: Tensor,
    squares_NK: Tensor,
    weight2_CK: Tensor,
    grn_gamma: Tensor,
    grn_eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """V2: gradients of hidden, of bias1, of the folded weight2 and of GRN's gamma."""
    per_sample = (len(squares_NK), -1)
    response = respond(squares_NK, grn_gamma, grn_eps)
    act_NRK = F.gelu(hidden_MK).unflatten(0, per_sample)
    grad_NRC = grad_MC.unflatten(0, per_sample)
    # The gradient of each sample's own copy of weight2 also gives the gradient of its factors.
    products_NCK = torch.bmm(grad_NRC.transpose(1, 2), act_NRK).float()
    del act_NRK  # the largest map; freed before the next one is allocated
    d_factor_NK = (products_NCK * weight2_CK.float()).sum(1)
    d_weight2 = (products_NCK * response.factor[:, None]).sum(0)
    d_grn_gamma = (d_factor_NK * response.relative).sum(0)
    slope_NK = slope(d_factor_NK * grn_gamma.float(), response, grn_eps)
    d_MK = torch.bmm(grad_NRC, weights_of_samples(weight2_CK, response)).flatten(0, 1)
    _, d_bias1 = OPS.gelu_backward(d_MK, hidden_MK, slope_NK)  # overwrites d_MK
    return d_MK, d_bias1, d_weight2, d_grn_gamma


def _empty(like: Tensor) -> Tensor:
    """No gradient. A new tensor each time, because results must not share memory."""
    return like.new_empty(0, dtype=torch.float32)
