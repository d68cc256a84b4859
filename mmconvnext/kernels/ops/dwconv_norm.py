# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Depthwise 7x7 convolution and LayerNorm without affine, forward and backward."""

from __future__ import annotations

import torch
from torch import Tensor

from .define import define, fake

define(
    'dwconv_norm(Tensor x, Tensor weight, Tensor bias, float eps, ScalarType dtype) '
    '-> (Tensor, Tensor)'
)


@fake('dwconv_norm')
def _(x: Tensor, weight, bias, eps, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rstd_NHW = x.new_empty(x.shape[:3], dtype=torch.float32)
    return torch.empty_like(x, dtype=dtype), rstd_NHW


define(
    'dwconv_norm_backward(Tensor grad, Tensor normalized, Tensor rstd, Tensor x, Tensor weight, '
    'Tensor residual, bool weights=True) -> (Tensor, Tensor, Tensor)'
)


@fake('dwconv_norm_backward')
def _(
    grad, normalized, rstd, x: Tensor, weight, residual, weights=True
) -> tuple[Tensor, Tensor, Tensor]:
    C = x.shape[3]
    d_weight = x.new_empty((C, 1, 7, 7), dtype=torch.float32)
    return torch.empty_like(x), d_weight, x.new_empty(C, dtype=torch.float32)
