# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The operators for CUDA: Triton for maps, PyTorch for weights.

Importing this module registers them. It needs triton, which comes with torch's CUDA builds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from . import triton as kernels
from .ops.define import LIBRARY
from .reference import scale_linear as scaled


def scale_linear(
    weight: Tensor,
    bias: Tensor,
    in_scale: Tensor | None,
    in_shift: Tensor | None,
    out_scale: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """See :func:`.reference.scale_linear`; computed in float32, returned as ``dtype``."""
    wide = [None if t is None else t.float() for t in (weight, bias, in_scale, in_shift, out_scale)]
    results = scaled(*wide)
    return tuple(t.to(dtype, copy=True) for t in results)


def scale_linear_backward(
    grad_weight: Tensor,
    grad_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
    in_scale: Tensor | None,
    in_shift: Tensor | None,
    out_scale: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of weight, bias, in_scale, in_shift and out_scale, all float32."""
    weight, bias, grad = weight.float(), bias.float(), grad_weight.float()
    outputs, inputs = weight.shape
    in_scale = weight.new_ones(inputs) if in_scale is None else in_scale.float()
    in_shift = weight.new_zeros(inputs) if in_shift is None else in_shift.float()
    out_scale = weight.new_ones(outputs) if out_scale is None else out_scale.float()
    d_bias = grad_bias.float() * out_scale
    products = grad * weight
    return (
        torch.addcmul(torch.outer(d_bias, in_shift), grad, torch.outer(out_scale, in_scale)),
        d_bias,
        out_scale @ products,
        d_bias @ weight,
        products @ in_scale + grad_bias.float() * torch.addmv(bias, weight, in_shift),
    )


def _on_its_device(function: Callable) -> Callable:
    """Make the tensors' device the current one, on which Triton launches."""

    def call(x: Tensor, *args):
        with torch.cuda.device_of(x):
            return function(x, *args)

    return call


for _name in kernels.__all__:
    LIBRARY.impl(_name, _on_its_device(getattr(kernels, _name)), 'CUDA')
LIBRARY.impl('scale_linear', scale_linear, 'CUDA')
LIBRARY.impl('scale_linear_backward', scale_linear_backward, 'CUDA')
