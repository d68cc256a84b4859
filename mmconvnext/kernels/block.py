# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ConvNeXt block from fused operators and matrix products: same mathematics, fewer passes.

What is taken into the weights instead of passing over the maps (``scale_linear``): LayerNorm's
affine into the first pointwise layer; layer scale, the 1 / keep of stochastic depth and GRN's shift
into the second. What is saved for backward: the input, the normalized map and the hidden map before
the activation, 6 times the input, where the plain path saves 12. A dropped sample is not computed.

Shapes: x is (N, H, W, C), M = N * H * W pixels, hidden maps are (M, K).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import ops  # noqa: F401, declares them

OPS = torch.ops.mmconvnext


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
            out_scale = _out_scale(gamma, scale, bias2)
            layers = (norm_weight, norm_bias, weight1, bias1, weight2, bias2, out_scale, grn_beta)
            scaled1, shifted1, scaled2, shifted2 = folded(*layers, x.dtype)
            h = torch.addmm(shifted1, _rows(normalized), scaled1.t())
            out = _rows(kept) + shifted2
            if grn_gamma is None:
                act, squares = F.gelu(h), None
                out.addmm_(act, scaled2.t())
            else:
                act, squares = OPS.gelu_squares(h, len(kept))
                response = _grn(squares, grn_gamma, grn_eps)[0]
                _add_products(out, act, _weigh(scaled2, response).transpose(1, 2))
        ctx.save_for_backward(
            *parameters, kept, normalized, rstd, h, scaled1, scaled2, out_scale, squares
        )
        return _put(x, out.view_as(kept), keep)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no more
        parameters = saved[:11]
        if ctx.keep is not None and not ctx.keep:
            # Zeros, as multiplying by a mask gives: AdamW's moments go on, DDP waits for nobody.
            zeros = [None if p is None else torch.zeros_like(p) for p in parameters]
            return grad, *zeros, None, None, None, None
        with torch.autocast(grad.device.type, enabled=False):
            grads = _backward(ctx, grad.contiguous(), saved)
        return *grads, None, None, None, None


def folded(
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
    """Weights and biases of both pointwise layers with all that can be taken into them."""
    first = OPS.scale_linear(weight1, bias1, norm_weight, norm_bias, None, dtype)
    return *first, *OPS.scale_linear(weight2, bias2, None, grn_beta, out_scale, dtype)


def infer(
    x: Tensor,
    dw_weight: Tensor,
    dw_bias: Tensor,
    layers: tuple[Tensor, Tensor, Tensor, Tensor],
    grn_gamma: Tensor | None,
    eps: float,
    grn_eps: float,
) -> Tensor:
    """The block without gradients, on what :func:`folded` returns; the hidden map in place."""
    weight1, bias1, weight2, bias2 = layers
    normalized, _ = OPS.dwconv_norm(x, dw_weight, dw_bias, eps)
    h = torch.addmm(bias1, _rows(normalized), weight1.t())
    out = _rows(x) + bias2
    if grn_gamma is None:
        out.addmm_(torch.ops.aten.gelu_(h), weight2.t())
    else:
        act, squares = OPS.gelu_squares(h, len(x))
        response = _grn(squares, grn_gamma, grn_eps)[0]
        _add_products(out, act, _weigh(weight2, response).transpose(1, 2))
    return out.view_as(x)


def _backward(ctx, grad: Tensor, saved: tuple) -> tuple:
    dw_weight, _, norm_weight, norm_bias, weight1, bias1 = saved[:6]
    weight2, bias2, gamma, grn_gamma, grn_beta = saved[6:11]
    kept, normalized, rstd, h, scaled1, scaled2, out_scale, squares = saved[11:]
    kept_grad = _take(grad, ctx.keep)
    g = _rows(kept_grad)

    if grn_gamma is None:
        d = g @ scaled2
        act, d_bias1 = OPS.gelu_backward(d, h, None)  # d is the gradient of h from here on
        d_scaled2 = g.t() @ act
        d_grn_gamma = None
    else:
        n = len(kept)
        response, relative, mean = _grn(squares, grn_gamma, ctx.grn_eps)
        act = F.gelu(h)
        # The gradient of each sample's own second layer, (N, C, K): all that GRN needs to know.
        products = torch.bmm(g.unflatten(0, (n, -1)).transpose(1, 2), act.unflatten(0, (n, -1)))
        products = products.float()
        d_response = (products * scaled2.float()).sum(1)
        d_scaled2 = (products * response[:, None]).sum(0)
        d_grn_gamma = (d_response * relative).sum(0)
        slope = _grn_slope(d_response * grn_gamma.float(), squares, mean, ctx.grn_eps)
        del act
        d = torch.bmm(g.unflatten(0, (n, -1)), _weigh(scaled2, response)).flatten(0, 1)
        act, d_bias1 = OPS.gelu_backward(d, h, slope)
    del act
    d_weight2, d_bias2, _, d_grn_beta, d_out_scale = OPS.scale_linear_backward(
        d_scaled2, g.sum(0, dtype=torch.float32), weight2, bias2, None, grn_beta, out_scale
    )
    d_weight1, d_bias1, d_norm_weight, d_norm_bias, _ = OPS.scale_linear_backward(
        d.t() @ _rows(normalized), d_bias1, weight1, bias1, norm_weight, norm_bias, None
    )
    dx, d_dw_weight, d_dw_bias = OPS.dwconv_norm_backward(
        (d @ scaled1).view_as(kept), normalized, rstd, kept, dw_weight, kept_grad
    )
    d_gamma = None if gamma is None else d_out_scale * ctx.scale
    return (
        *(_put(grad, dx, ctx.keep), d_dw_weight, d_dw_bias, d_norm_weight, d_norm_bias),
        *(d_weight1, d_bias1, d_weight2, d_bias2, d_gamma, d_grn_gamma),
        None if grn_beta is None else d_grn_beta,
    )


def _rows(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])


def _out_scale(gamma: Tensor | None, scale: float, like: Tensor) -> Tensor | None:
    if gamma is not None:
        return gamma.detach().float() * scale
    return None if scale == 1 else torch.full_like(like, scale, dtype=torch.float32)


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


def _add_products(out: Tensor, act: Tensor, weights: Tensor) -> None:
    n = len(weights)
    out.unflatten(0, (n, -1)).baddbmm_(act.unflatten(0, (n, -1)), weights)
