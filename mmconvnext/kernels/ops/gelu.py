# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""GELU, with the sums that the layers around it need, in the same pass over the hidden map."""

from __future__ import annotations

import torch
from torch import Tensor

from .define import define, fake

define('gelu_squares(Tensor h, int samples) -> (Tensor, Tensor)')


@fake('gelu_squares')
def _(h_MK: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    squares_NK = h_MK.new_empty((samples, h_MK.shape[1]), dtype=torch.float32)
    return torch.empty_like(h_MK), squares_NK


define('gelu_backward(Tensor(a!) grad, Tensor h, Tensor? slope) -> (Tensor, Tensor)')


@fake('gelu_backward')
def _(grad: Tensor, h_MK: Tensor, slope: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(h_MK), h_MK.new_empty(h_MK.shape[1], dtype=torch.float32)
