# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ConvNeXt block from fused operators: same mathematics, fewer passes.

What is saved for backward: the input, the normalized map and, unless it is computed again, the
hidden map before the activation: 6 or 2 times the input, where the plain path saves 12. A dropped
sample is not computed.

Shapes: x is (N, H, W, C). Its type is that of the residual stream, ``Options.dtype`` that of the
branch; they differ under autocast, where the stream stays float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .ops import mlp
from .ops.mlp import OPS

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


NO_SECOND = (
    'the fast ConvNeXt block has no second derivative (gradient penalty, Hessian, '
    "create_graph=True, tangents of gradients); build the backbone with kernels='plain', which has"
)


class FusedBlock(torch.autograd.Function):
    """``x + scale * gamma * pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))`` of the kept samples.

    Takes x as (N, H, W, C), gives (N, C, H, W).
    """

    @staticmethod
    def forward(ctx, x: Tensor, options: Options, *parameters: Tensor | None) -> Tensor:
        p = Parameters(*parameters)
        keep = options.keep
        ctx.options = options
        if keep is not None and not keep:
            ctx.save_for_backward(*p)
            return _map(x.clone())  # what writes to the result must not write to x
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
        return _map(_put(x, out.view_as(kept), keep))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        _refuse_transforms(grad)
        grad = grad.permute(0, 2, 3, 1)
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no more
        p, maps = Parameters(*saved[: len(Parameters._fields)]), saved[len(Parameters._fields) :]
        with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
            if not maps:
                # Zeros, as multiplying by a mask gives: AdamW's moments go on, DDP waits for nobody
                grads = grad.clone(), *(None if t is None else torch.zeros_like(t) for t in p)
            else:
                wanted = Parameters(*ctx.needs_input_grad[2:])
                grads = _backward(ctx.options, wanted, grad.contiguous(), p, *maps)
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
    """The block without gradients, of all samples, on what :func:`fold` returned: (N, C, H, W)."""
    with torch.autocast(x.device.type, enabled=False):
        normalized, _ = OPS.dwconv_norm(x, p.dw_weight, p.dw_bias, options.eps, options.dtype)
        out, _, _ = OPS.mlp(
            *(_rows(normalized), _rows(x), *folded, p.grn_gamma, options.grn_eps, len(x), False),
        )
    return _map(out.view_as(x))


def _backward(
    options: Options,
    wanted: Parameters,
    grad: Tensor,
    p: Parameters,
    x: Tensor,
    normalized: Tensor,
    rstd: Tensor,
    hidden: Tensor,
    squares: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of x and of those parameters for which ``wanted`` is true.

    Those of frozen layers are not computed, where they cost a product over all pixels.
    """
    # As they were saved, but for hooks of saved tensors that give back other strides.
    x, normalized, rstd, hidden, squares = (
        t.contiguous() for t in (x, normalized, rstd, hidden, squares)
    )
    first = wanted.norm_weight or wanted.norm_bias or wanted.weight1
    second = wanted.weight2 or wanted.gamma or wanted.grn_beta
    kept, kept_grad = _take(x, options.keep), _take(grad, options.keep)
    d_normalized, *grads = OPS.mlp_backward(
        *(_rows(kept_grad), _rows(normalized), hidden, squares),
        *(*p[2:], options.scale, options.grn_eps, len(kept), first, second),
    )
    dx, d_dw_weight, d_dw_bias = OPS.dwconv_norm_backward(
        *(d_normalized.view_as(kept), normalized, rstd, kept, p.dw_weight, kept_grad),
        wanted.dw_weight or wanted.dw_bias,
    )
    grads = [g if want else None for want, g in zip(wanted, (d_dw_weight, d_dw_bias, *grads))]
    return _put(grad, dx, options.keep), *grads


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
        raise RuntimeError(NO_SECOND)


def _refuse_transforms(grad: Tensor) -> None:
    """Raise where the gradient would be differentiated by what does not see into the operators.

    A batch of gradients (``is_grads_batched``) passes: torch computes them one by one.
    """
    transforms = torch._C._functorch.get_interpreter_stack() or ()
    kinds = {transform.key() for transform in transforms}
    others = kinds - {torch._C._functorch.TransformType.Vmap}
    forward_mode = torch.autograd.forward_ad._current_level >= 0
    batched = kinds or torch._C._functorch.is_legacy_batchedtensor(grad)
    if others or forward_mode or (batched and torch.is_grad_enabled()):
        raise RuntimeError(NO_SECOND)


def _map(x: Tensor) -> Tensor:
    """(N, H, W, C) as (N, C, H, W), but no view to autograd: those cannot be written to freely."""
    return x.permute(0, 3, 1, 2).data


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
