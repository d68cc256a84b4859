# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The pointwise layers, with the scales and shifts around them folded into their weights.

Into pwconv1: the affine part of LayerNorm. Into pwconv2: layer scale, the scale of stochastic depth
and the shift of GRN. Then none of these needs a pass of its own over a map.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..parameters import Options, Parameters
from .define import OPS, composite, define, fake

define(
    'fold(Tensor norm_weight, Tensor norm_bias, Tensor weight1, Tensor bias1, Tensor weight2, '
    'Tensor bias2, Tensor? out_scale, Tensor? grn_beta, ScalarType dtype) '
    '-> (Tensor, Tensor, Tensor, Tensor)'
)


class Folded(NamedTuple):
    """The layers as ``mlp`` uses them. A device may permute the elements within a tensor."""

    weight1: Tensor  # (K, C)
    bias1: Tensor  # (K,)
    weight2: Tensor  # (C, K)
    bias2: Tensor  # (C,)


def fold(p: Parameters, options: Options) -> Folded:
    """Fold a block's parameters into its pointwise layers, of type ``options.dtype``."""
    with torch.no_grad(), torch.autocast(p.pwconv1_weight.device.type, enabled=False):
        scale = branch_scale(p.gamma, options.scale, p.pwconv2_bias)
        layers = OPS.fold(*p.norm, *p.pwconv1, *p.pwconv2, scale, p.grn_beta, options.dtype)
    return Folded(*layers)


def branch_scale(gamma: Tensor | None, scale: float, bias2: Tensor) -> Tensor | None:
    """Layer scale times the scale of stochastic depth, float32 (C,); None where both are 1."""
    if gamma is not None:
        return gamma.detach().float() * scale
    return None if scale == 1 else torch.full_like(bias2, scale, dtype=torch.float32)


@fake('fold')
def _(norm_weight, norm_bias, weight1, bias1, weight2, bias2, out_scale, grn_beta, dtype):
    # On a CPU the biases are added to float32 sums, so they stay float32.
    bias_dtype = torch.float32 if weight1.device.type == 'cpu' else dtype
    return (
        torch.empty_like(weight1, dtype=dtype),
        torch.empty_like(bias1, dtype=bias_dtype),
        torch.empty_like(weight2, dtype=dtype),
        torch.empty_like(bias2, dtype=bias_dtype),
    )


@composite('fold')
def fold_composite(
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    out_scale: Tensor | None,
    grn_beta: Tensor | None,
    dtype: torch.dtype,
) -> Folded:
    """Fold both layers with ``scale_linear``."""
    first = OPS.scale_linear(weight1, bias1, norm_weight, norm_bias, None, dtype)
    second = OPS.scale_linear(weight2, bias2, None, grn_beta, out_scale, dtype)
    return Folded(*first, *second)
