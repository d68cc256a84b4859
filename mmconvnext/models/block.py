# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ConvNeXt block, V1 and V2, with every ablation of its design in one forward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..kernels.report import PathReport
from .design import Design
from .fusion import fast_parameters, fusible, run_fast
from .layers import DropPath, GlobalResponseNorm, build_act, build_norm, norm_last


@fusible
class ConvNeXtBlock(nn.Module):
    """``x + drop_path(gamma * pwconv2(grn(act(pwconv1(norm(dwconv(x)))))))``.

    Paper: figure 4 of "A ConvNet for the 2020s" (V1, with ``gamma``); figure 5 of ConvNeXt V2
    (with ``grn``, without ``gamma``). The parameters carry the names of Meta's code. What
    ``design`` turns back is in :class:`Design`; the additional norms of
    ``norm_after='every_conv'`` are called ``norm1`` (expansion) and ``norm2`` (projection).

    Args:
        channels: C of the (N, C, H, W) input and output.
        design: the switches.
        grn: V2's global response normalization after the activation.
        layer_scale_init_value: start of ``gamma`` of shape (C,); 0 builds no layer scale.
        drop_path_rate: probability that a sample's branch is dropped in training, 0 to below 1.
        with_cp: recompute the branch in the backward pass instead of keeping its activations.
        kernels: 'auto', 'plain' or 'fast', see :mod:`mmconvnext.kernels`. What is below is the
            plain path, which is also the specification of the fast one.
        name: what messages call the block.
        report: where the block says which path it takes.

    Raises:
        ValueError: a design that cannot be built with these channels, or kernels='fast' for one
            that the fast path does not compute.
    """

    def __init__(
        self,
        channels: int,
        design: Design,
        *,
        grn: bool = False,
        layer_scale_init_value: float = 0.0,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        kernels: str = 'auto',
        name: str = 'the block',
        report: PathReport | None = None,
    ) -> None:
        super().__init__()
        if kernels == 'fast' and design.unfusible:
            raise ValueError(
                f"kernels='fast' does not compute design {design.unfusible}; use 'auto' or 'plain'"
            )
        hidden = int(channels * design.expansion_ratio)
        if hidden < 1:
            raise ValueError(
                f'design.expansion_ratio={design.expansion_ratio!r} leaves no hidden channel of '
                f'{channels}'
            )
        spatial = channels if design.spatial_first else hidden
        self.dwconv = nn.Conv2d(
            spatial,
            spatial,
            kernel_size=design.kernel_size,
            padding=design.kernel_size // 2,
            groups=_num_groups(spatial, design.group_width),
        )
        self.norm = build_norm(design, spatial, channels_last=True)
        self.pwconv1 = nn.Linear(channels, hidden)
        self.act = build_act(design)
        self.grn = GlobalResponseNorm(hidden) if grn else None
        self.pwconv2 = nn.Linear(hidden, channels)
        self.layer_scale_init_value = float(layer_scale_init_value)
        self.gamma = nn.Parameter(torch.empty(channels)) if layer_scale_init_value > 0 else None
        every_norm = design.norm_after == 'every_conv'
        self.norm1 = build_norm(design, hidden, channels_last=True) if every_norm else None
        self.norm2 = build_norm(design, channels, channels_last=True) if every_norm else None
        self.drop_path = DropPath(drop_path_rate)
        self.spatial_first = design.spatial_first
        self.every_act = design.act_after == 'every_conv'
        self.with_cp = with_cp
        self.kernels = kernels
        self.design = design
        self.name = name
        self.report = report
        self._folded: dict | None = None  # weights for inference, see fuse
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start the layer scale, which is all that the block has besides its layers."""
        if self.gamma is not None:
            nn.init.constant_(self.gamma, self.layer_scale_init_value)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        parameters = fast_parameters(self, x)
        if parameters is not None:
            return run_fast(self, x, parameters)
        out = self.drop_path(self._recomputed(self._branch, x)) + x
        return self.act(out) if self.every_act else out

    def _branch(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # (N, H, W, C), a view
        if self.spatial_first:
            x = self._spatial(x)
            if self.every_act:
                x = self.act(x)
            x = self._expand(x)
        else:
            x = self._expand(x)
            if self.every_act:
                x = self.act(x)
            x = self._spatial(x)
        x = self.act(x)
        if self.grn is not None:
            x = self.grn(x)
        x = self.pwconv2(x)
        if self.norm2 is not None:
            x = norm_last(self.norm2, x, self.design)
        if self.gamma is not None:
            x = self.gamma * x
        return x.permute(0, 3, 1, 2)  # (N, C, H, W), a view

    def _spatial(self, x: Tensor) -> Tensor:
        x = self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return norm_last(self.norm, x, self.design)

    def _expand(self, x: Tensor) -> Tensor:
        x = self.pwconv1(x)
        return x if self.norm1 is None else norm_last(self.norm1, x, self.design)

    def _recomputed(self, function: Callable, x: Tensor, *args) -> Tensor:
        traced = not isinstance(x, Tensor)  # symbolically: nothing is kept that could be spared
        if self.with_cp and not traced and torch.is_grad_enabled() and x.requires_grad:
            return checkpoint(function, x, *args, use_reentrant=False)
        return function(x, *args)

    def __getstate__(self) -> dict:
        """Without the folded weights, whose layout is that of this machine."""
        return {**self.__dict__, '_folded': None if self._folded is None else {}}

    def train(self, mode: bool = True) -> ConvNeXtBlock:
        """Switch between training and evaluation; training ends :meth:`fuse`."""
        if mode:
            self._folded = None
        return super().train(mode)

    def fuse(self) -> None:
        """From now on keep the folded weights between inferences, one set for each type.

        Whatever is written to the parameters, in whatever way, is noticed and folded anew.
        """
        self._folded = {}


def _num_groups(channels: int, group_width: int | None) -> int:
    """Groups of the spatial convolution over ``channels``."""
    if group_width is None:
        return 1
    if channels % group_width:
        raise ValueError(
            f'design.group_width={group_width} does not divide the {channels} channels of the '
            'spatial convolution; take a divisor of every stage, or None for a dense convolution'
        )
    return channels // group_width
