# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The block's residual branch with a different layer order or extra layers, for ablations.

Sections are those of "A ConvNet for the 2020s": the spatial convolution between the pointwise
layers (2.5), an activation or a norm after every convolution (2.6). Switches that only swap one
layer for another (kernel size, kind of norm or activation, ...) do not need this branch.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layers import norm_last


def ablated_branch(block: nn.Module, x: Tensor) -> Tensor:
    """The residual branch, (N, C, H, W) to (N, C, H, W)."""
    x = x.permute(0, 2, 3, 1)  # (N, H, W, C), a view
    first, second = (_spatial, _expand) if block.spatial_first else (_expand, _spatial)
    x = first(block, x)
    if block.every_act:
        x = block.act(x)
    x = second(block, x)
    x = block.act(x)
    if block.grn is not None:
        x = block.grn(x)
    x = block.pwconv2(x)
    if block.norm2 is not None:
        x = norm_last(block.norm2, x, block.design)
    if block.gamma is not None:
        x = block.gamma * x
    return x.permute(0, 3, 1, 2)  # (N, C, H, W), a view


def _spatial(block: nn.Module, x: Tensor) -> Tensor:
    x = block.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return norm_last(block.norm, x, block.design)


def _expand(block: nn.Module, x: Tensor) -> Tensor:
    x = block.pwconv1(x)
    return x if block.norm1 is None else norm_last(block.norm1, x, block.design)
