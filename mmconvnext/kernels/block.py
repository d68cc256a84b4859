# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ConvNeXt block made of fused operators: the same mathematics in fewer passes over memory.

Saved for the backward pass: the input, the normalized map and, unless it is recomputed, the hidden
map before the activation; that is 6 or 2 times the input, where the plain path saves 12. The branch
of a dropped sample is not computed.

``x`` has the type of the residual stream, the branch has ``Options.dtype``. They differ under
autocast, where the stream stays float32. The letters in tensor names are their dimensions, see
:mod:`mmconvnext.kernels`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .ops import OPS
from .ops.fold import Folded, fold
from .ops.mlp import mlp_backward
from .parameters import Options, Parameters

# In maps with at least this many pixels per channel, the hidden map is recomputed in the backward
# pass; the weights are small compared with it. On a CPU that is faster than writing and reading the
# hidden map in stages 1 and 2 of ConvNeXt-T, and up to 3 % slower (forward and backward) in stage 3
# at 800 x 1344 pixels. Our choice; the same on CUDA, where it was not measured.
RECOMPUTE = 8


class Maps(NamedTuple):
    """What the backward pass reads besides the parameters: ``x`` for all samples, the other maps
    for the kept ones."""

    x: Tensor  # (N, H, W, C)
    normalized: Tensor  # (N, H, W, C)
    rstd: Tensor  # (N, H, W), 1 / standard deviation
    hidden: Tensor  # (M, K), or no rows if it is recomputed
    squares: Tensor  # (N, K), or (0, K) without GRN


NO_SECOND = (
    'the fast ConvNeXt block has no second derivative (gradient penalty, Hessian, '
    "create_graph=True, tangents of gradients); build the backbone with kernels='plain' for that"
)


class FusedBlock(torch.autograd.Function):
    """``x + scale * gamma * pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))`` for the kept samples.

    Input (N, H, W, C), output (N, C, H, W). Call ``apply(x, options, *parameters)``.
    """

    @staticmethod
    def forward(ctx, x_NHWC: Tensor, options: Options, *parameters: Tensor | None) -> Tensor:
        p = Parameters(*parameters)
        ctx.options = options
        if options.keep is not None and not options.keep:
            ctx.save_for_backward(*p)
            return _to_NCHW(x_NHWC.clone())  # an in-place change of the result must not reach x
        with torch.autocast(x_NHWC.device.type, enabled=False):
            kept_NHWC = _take(x_NHWC, options.keep)
            pixels = kept_NHWC.shape[:3].numel()
            save_hidden = pixels < RECOMPUTE * kept_NHWC.shape[3]
            out_NHWC, maps = _forward(kept_NHWC, p, options, fold(p, options), save_hidden)
        ctx.save_for_backward(*p, *maps._replace(x=x_NHWC))
        return _to_NCHW(_put(x_NHWC, out_NHWC, options.keep))

    @staticmethod
    def backward(ctx, grad_NCHW: Tensor) -> tuple:
        _refuse_transforms(grad_NCHW)
        grad_NHWC = grad_NCHW.permute(0, 2, 3, 1)
        saved = ctx.saved_tensors  # read only once, for activation checkpointing
        count = len(Parameters._fields)
        p, maps = Parameters(*saved[:count]), saved[count:]  # no maps if all samples were dropped
        if not maps:
            # Zeros, as from multiplying by a mask, so that AdamW updates its moments and DDP does
            # not wait for a missing gradient. With create_graph=True autograd records the copy.
            zeros = (None if t is None else torch.zeros_like(t) for t in p)
            return grad_NHWC.clone(), None, *zeros
        _, _, *wanted = ctx.needs_input_grad
        wanted, maps = Parameters(*wanted), Maps(*maps)
        with torch.no_grad(), torch.autocast(grad_NHWC.device.type, enabled=False):
            dx, grads = _backward(grad_NHWC.contiguous(), maps, p, ctx.options, wanted)
        if torch.is_grad_enabled():  # create_graph=True
            dx, *grads = _Once.apply((dx, *grads), grad_NHWC, maps.x, *p)
        return dx, None, *grads


def infer(x_NHWC: Tensor, p: Parameters, options: Options, folded: Folded) -> Tensor:
    """The block without gradients, for all samples, with the weights of ``fold``: (N, C, H, W)."""
    with torch.autocast(x_NHWC.device.type, enabled=False):
        out_NHWC, _ = _forward(x_NHWC, p, options, folded, save_hidden=False)
    return _to_NCHW(out_NHWC)


def _forward(
    x_NHWC: Tensor, p: Parameters, options: Options, folded: Folded, save_hidden: bool
) -> tuple[Tensor, Maps]:
    """The block for all samples in x, and what the backward pass needs."""
    normalized_NHWC, rstd_NHW = OPS.dwconv_norm(
        x_NHWC, p.dwconv_weight, p.dwconv_bias, options.eps, options.dtype
    )
    out_MC, hidden_MK, squares_NK = OPS.mlp(
        _rows(normalized_NHWC),
        _rows(x_NHWC),
        *folded,
        p.grn_gamma,
        options.grn_eps,
        samples=len(x_NHWC),
        save_hidden=save_hidden,
    )
    maps = Maps(x_NHWC, normalized_NHWC, rstd_NHW, hidden_MK, squares_NK)
    return out_MC.view_as(x_NHWC), maps


def _backward(
    grad_NHWC: Tensor, maps: Maps, p: Parameters, options: Options, wanted: Parameters
) -> tuple[Tensor, Parameters]:
    """Gradients of x and of the parameters for which ``wanted`` is true.

    Gradients of frozen layers that would cost a product over all pixels are not computed.
    """
    # Hooks of saved tensors may have changed the strides.
    maps = Maps(*(t.contiguous() for t in maps))
    kept_x, kept_grad = _take(maps.x, options.keep), _take(grad_NHWC, options.keep)
    d_normalized_MC, grads = mlp_backward(
        _rows(kept_grad),
        _rows(maps.normalized),
        maps.hidden,
        maps.squares,
        p,
        options,
        samples=len(kept_x),
        wanted=wanted,
    )
    dx, d_weight, d_bias = OPS.dwconv_norm_backward(
        d_normalized_MC.view_as(kept_x),
        maps.normalized,
        maps.rstd,
        kept_x,
        p.dwconv_weight,
        residual=kept_grad,
        weights=wanted.dwconv_weight or wanted.dwconv_bias,
    )
    grads = grads._replace(dwconv_weight=d_weight, dwconv_bias=d_bias)
    grads = Parameters(*(g if want else None for want, g in zip(wanted, grads)))
    return _put(grad_NHWC, dx, options.keep), grads


class _Once(torch.autograd.Function):
    """Passes gradients through; differentiating them a second time raises a RuntimeError.

    torch's ``once_differentiable`` does not record what the gradients depend on, so
    ``autograd.grad(..., allow_unused=True)`` would skip them, and a Hessian would be zero.
    """

    @staticmethod
    def forward(ctx, grads: tuple[Tensor | None, ...], *sources: Tensor | None) -> tuple:
        return grads

    @staticmethod
    def backward(ctx, *_) -> None:
        raise RuntimeError(NO_SECOND)


def _refuse_transforms(grad: Tensor) -> None:
    """Raise if a transform would differentiate the gradient: it cannot see into the operators.

    A batch of gradients (``is_grads_batched``) passes: torch computes them one by one.
    """
    transforms = torch._C._functorch.get_interpreter_stack() or ()
    kinds = {transform.key() for transform in transforms}
    others = kinds - {torch._C._functorch.TransformType.Vmap}
    forward_mode = torch.autograd.forward_ad._current_level >= 0
    batched = kinds or torch._C._functorch.is_legacy_batchedtensor(grad)
    if others or forward_mode or (batched and torch.is_grad_enabled()):
        raise RuntimeError(NO_SECOND)


def _to_NCHW(x_NHWC: Tensor) -> Tensor:
    """Permute; hidden from autograd, which would forbid in-place changes of a view."""
    return x_NHWC.permute(0, 3, 1, 2).data


def _rows(x_NHWC: Tensor) -> Tensor:
    """(N, H, W, C) -> (M, C), a view."""
    return x_NHWC.view(-1, x_NHWC.shape[-1])


def _take(x: Tensor, keep: list[int] | None) -> Tensor:
    """The kept samples; a view where they are consecutive."""
    if keep is None:
        return x
    return x[_slice(keep) or keep]


def _put(x: Tensor, values: Tensor, keep: list[int] | None) -> Tensor:
    """``x`` with the kept samples replaced by ``values``."""
    if keep is None:
        return values
    out = x.clone()
    out[_slice(keep) or keep] = values
    return out


def _slice(keep: list[int]) -> slice | None:
    consecutive = keep[-1] - keep[0] == len(keep) - 1
    return slice(keep[0], keep[-1] + 1) if consecutive else None
