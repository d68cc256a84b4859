# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Operators of the namespace ``mmconvnext``: schemas, shapes for tracing, and their CPU side.

None has a derivative of its own: :class:`.block.FusedBlock` puts them together to the block's.
All maps are (N, H, W, C) and contiguous, float32 or bfloat16; all arithmetic is in float32. Under
autocast the residual stream (``x``, ``residual`` and ``grad`` of the block) stays float32 beside
bfloat16 maps of the branch, as on the plain path.
:mod:`.reference` says what each computes.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ..compat import register_fake
from ..library import load

LIBRARY = torch.library.Library('mmconvnext', 'DEF')
LIBRARY.define(
    'dwconv_norm(Tensor x, Tensor weight, Tensor bias, float eps, ScalarType dtype) '
    '-> (Tensor, Tensor)'
)
LIBRARY.define(
    'dwconv_norm_backward(Tensor grad, Tensor normalized, Tensor rstd, Tensor x, Tensor weight, '
    'Tensor residual, bool weights=True) -> (Tensor, Tensor, Tensor)'
)
LIBRARY.define('gelu_backward(Tensor(a!) grad, Tensor h, Tensor? slope) -> (Tensor, Tensor)')
LIBRARY.define('gelu_squares(Tensor h, int samples) -> (Tensor, Tensor)')
LIBRARY.define(
    'scale_linear(Tensor weight, Tensor bias, Tensor? in_scale, Tensor? in_shift, '
    'Tensor? out_scale, ScalarType dtype) -> (Tensor, Tensor)'
)
LIBRARY.define(
    'scale_linear_backward(Tensor grad_weight, Tensor grad_bias, Tensor weight, Tensor bias, '
    'Tensor? in_scale, Tensor? in_shift, Tensor? out_scale) '
    '-> (Tensor, Tensor, Tensor, Tensor, Tensor)'
)
# Those below are made of the ones above (`mlp.py`), unless a device has better: a CPU does them
# tile by tile. `fold` gives both layers as `mlp` wants them there: shapes as usual, in any order.
LIBRARY.define(
    'fold(Tensor norm_weight, Tensor norm_bias, Tensor weight1, Tensor bias1, Tensor weight2, '
    'Tensor bias2, Tensor? out_scale, Tensor? grn_beta, ScalarType dtype) '
    '-> (Tensor, Tensor, Tensor, Tensor)'
)
LIBRARY.define(
    'mlp(Tensor normalized, Tensor residual, Tensor weight1, Tensor bias1, Tensor weight2, '
    'Tensor bias2, Tensor? grn_gamma, float grn_eps, int samples, bool save_hidden) '
    '-> (Tensor, Tensor, Tensor)'
)
LIBRARY.define(
    'mlp_backward(Tensor grad, Tensor normalized, Tensor hidden, Tensor squares, '
    'Tensor norm_weight, Tensor norm_bias, Tensor weight1, Tensor bias1, Tensor weight2, '
    'Tensor bias2, Tensor? gamma, Tensor? grn_gamma, Tensor? grn_beta, float scale, '
    'float grn_eps, int samples, bool first=True, bool second=True) '
    f'-> ({", ".join(["Tensor"] * 10)})'
)
# All but the last one, which gives no tensor.
OF_MAPS = (
    *('dwconv_norm', 'dwconv_norm_backward', 'gelu_backward', 'gelu_squares'),
    *('scale_linear', 'scale_linear_backward', 'fold', 'mlp', 'mlp_backward'),
)
# Of CPU tensors: changes whenever one of them does, however it was written to.
LIBRARY.define('fingerprint(Tensor[] tensors) -> int')


@cache
def capability() -> tuple[str | None, str]:
    """The instruction set that the CPU side was compiled for, or None and why there is none."""
    return load()


@cache
def has_products() -> bool:
    """Whether the library multiplies with oneDNN's micro-kernels, which not every torch exports.

    Without them `mlp` and `mlp_backward` are composed of smaller operators. False where
    :func:`capability` is None.
    """
    loaded = capability()[0] is not None
    return loaded and torch._C._dispatch_has_kernel_for_dispatch_key('mmconvnext::mlp', 'CPU')


def _refuse_derivatives(name: str) -> None:
    """Raise where autograd would take results for constant, or differentiate a part of the way.

    An operator that is made of others and of torch's would give the gradients of torch's alone.
    """

    def call(*args):
        wanted = torch.is_grad_enabled() and any(getattr(x, 'requires_grad', 0) for x in args)
        if wanted or torch.autograd.forward_ad._current_level >= 0:
            raise RuntimeError(
                f'mmconvnext::{name} has no derivative of its own; call it within torch.no_grad(), '
                'or mmconvnext.kernels.block.FusedBlock, which has that of the whole block'
            )
        with torch._C._AutoDispatchBelowAutograd():
            return getattr(torch.ops.mmconvnext, name)(*args)

    LIBRARY.impl(name, call, 'Autograd')


for _name in OF_MAPS:
    _refuse_derivatives(_name)


@register_fake('mmconvnext::dwconv_norm')
def _(x: Tensor, weight, bias, eps, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, dtype=dtype), x.new_empty(x.shape[:3], dtype=torch.float32)


@register_fake('mmconvnext::dwconv_norm_backward')
def _(
    grad, normalized, rstd, x: Tensor, weight, residual, weights=True
) -> tuple[Tensor, Tensor, Tensor]:
    channels = x.shape[3]
    weight_grad = x.new_empty((channels, 1, 7, 7), dtype=torch.float32)
    return torch.empty_like(x), weight_grad, x.new_empty(channels, dtype=torch.float32)


@register_fake('mmconvnext::gelu_backward')
def _(grad: Tensor, h: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(h), h.new_empty(h.shape[1], dtype=torch.float32)


@register_fake('mmconvnext::gelu_squares')
def _(h: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(h), h.new_empty((samples, h.shape[1]), dtype=torch.float32)


@register_fake('mmconvnext::fold')
def _(norm_weight, norm_bias, weight1, bias1, weight2, bias2, out_scale, grn_beta, dtype):
    like = torch.empty_like
    precise = torch.float32 if weight1.device.type == 'cpu' else dtype  # what `mlp` adds there
    return (
        *(like(weight1, dtype=dtype), like(bias1, dtype=precise)),
        *(like(weight2, dtype=dtype), like(bias2, dtype=precise)),
    )


@register_fake('mmconvnext::mlp')
def _(normalized: Tensor, residual, weight1, bias1, weight2, bias2, grn_gamma, *rest):
    _, samples, save_hidden = rest
    hidden = (len(normalized) if save_hidden else 0, weight1.shape[0])
    squares = (0 if grn_gamma is None else samples, weight1.shape[0])
    return (
        torch.empty_like(residual),
        normalized.new_empty(hidden),
        normalized.new_empty(squares, dtype=torch.float32),
    )


@register_fake('mmconvnext::mlp_backward')
def _(grad, normalized, hidden, squares, *rest):
    layers, (first, second) = rest[:9], (*rest[12:], True, True)[:2]
    left_out = set() if first else {0, 1, 2}
    left_out |= set() if second else {4, 6, 8}  # weight2, gamma, grn_beta
    sizes = [(0,) if p is None or i in left_out else p.shape for i, p in enumerate(layers)]
    grads = (grad.new_empty(size, dtype=torch.float32) for size in sizes)
    return torch.empty_like(normalized), *grads


@register_fake('mmconvnext::scale_linear')
def _(weight: Tensor, bias: Tensor, in_scale, in_shift, out_scale, dtype) -> tuple[Tensor, Tensor]:
    return torch.empty_like(weight, dtype=dtype), torch.empty_like(bias, dtype=dtype)


@register_fake('mmconvnext::scale_linear_backward')
def _(grad_weight, grad_bias, weight: Tensor, bias: Tensor, in_scale, in_shift, out_scale):
    outputs, inputs = weight.shape
    sizes = ((outputs, inputs), (outputs,), (inputs,), (inputs,), (outputs,))
    return tuple(weight.new_empty(size, dtype=torch.float32) for size in sizes)
