# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The inputs of a fused block besides the map: parameters and options, declared once.

C channels, K hidden channels; the other letters are in :mod:`mmconvnext.kernels`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Layer(NamedTuple):
    """Weight and bias of a layer."""

    weight: Tensor
    bias: Tensor


class Grn(NamedTuple):
    """Parameters of global response normalization; None in a block without it."""

    gamma: Tensor | None
    beta: Tensor | None


class Parameters(NamedTuple):
    """A block's parameters, named as in its state dict with '_' for '.'.

    Flat, because autograd needs one argument for each; ``norm``, ``pwconv1``, ``pwconv2`` and
    ``grn`` are views. The operators take and return them in the order of these fields. The same
    tuple holds gradients, where None means no gradient.
    """

    dwconv_weight: Tensor  # (C, 1, 7, 7)
    dwconv_bias: Tensor  # (C,)
    norm_weight: Tensor  # (C,)
    norm_bias: Tensor  # (C,)
    pwconv1_weight: Tensor  # (K, C)
    pwconv1_bias: Tensor  # (K,)
    pwconv2_weight: Tensor  # (C, K)
    pwconv2_bias: Tensor  # (C,)
    gamma: Tensor | None  # layer scale (C,)
    grn_gamma: Tensor | None  # (K,)
    grn_beta: Tensor | None  # (K,)

    @property
    def norm(self) -> Layer:
        return Layer(self.norm_weight, self.norm_bias)

    @property
    def pwconv1(self) -> Layer:
        return Layer(self.pwconv1_weight, self.pwconv1_bias)

    @property
    def pwconv2(self) -> Layer:
        return Layer(self.pwconv2_weight, self.pwconv2_bias)

    @property
    def grn(self) -> Grn:
        return Grn(self.grn_gamma, self.grn_beta)


class Options(NamedTuple):
    """How a block is computed.

    Args:
        eps: epsilon of LayerNorm.
        grn_eps: epsilon of GRN.
        dtype: type of the branch. The residual stream may have a wider one.
        scale: factor of the kept branches, stochastic depth's 1 / (1 - rate).
        keep: indices of the samples whose branch is computed, in order; None computes all. The
            other samples pass unchanged.
    """

    eps: float
    grn_eps: float
    dtype: torch.dtype
    scale: float = 1.0
    keep: list[int] | None = None
