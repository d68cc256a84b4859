# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Scales and a shift folded into a linear layer, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor

from .define import define, fake

define(
    'scale_linear(Tensor weight, Tensor bias, Tensor? in_scale, Tensor? in_shift, '
    'Tensor? out_scale, ScalarType dtype) -> (Tensor, Tensor)'
)


@fake('scale_linear')
def _(weight: Tensor, bias: Tensor, in_scale, in_shift, out_scale, dtype) -> tuple[Tensor, Tensor]:
    return torch.empty_like(weight, dtype=dtype), torch.empty_like(bias, dtype=dtype)


define(
    'scale_linear_backward(Tensor grad_weight, Tensor grad_bias, Tensor weight, Tensor bias, '
    'Tensor? in_scale, Tensor? in_shift, Tensor? out_scale) '
    '-> (Tensor, Tensor, Tensor, Tensor, Tensor)'
)


@fake('scale_linear_backward')
def _(grad_weight, grad_bias, weight: Tensor, bias: Tensor, in_scale, in_shift, out_scale):
    outputs, inputs = weight.shape
    sizes = ((outputs, inputs), (outputs,), (inputs,), (inputs,), (outputs,))
    return tuple(weight.new_empty(size, dtype=torch.float32) for size in sizes)
