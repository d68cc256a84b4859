# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ConvNeXt block, V1 and V2.

``forward`` chooses the path, ``_branch`` is the paper's formula. Branches with more layers or in
another order, for ablations, are in :mod:`.ablation`. :mod:`.fusion` decides whether a call takes
the fast path, which is in :mod:`.fast_path`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..kernels.report import PathReport
from .ablation import ablated_branch
from .design import Design
from .fast_path import run_fast
from .fusion import fast_parameters, fusible
from .layers import DropPath, GlobalResponseNorm, build_act, build_norm, norm_last


@fusible
class ConvNeXtBlock(nn.Module):
    """``x + drop_path(gamma * pwconv2(grn(act(pwconv1(norm(dwconv(x)))))))``.

    Papers: figure 4 of "A ConvNet for the 2020s" (V1, with ``gamma``); figure 5 of ConvNeXt V2
    (with ``grn``, without ``gamma``). Parameters are named as in Meta's code. ``design`` switches
    individual ideas off, see :class:`Design`; the extra norms of ``norm_after='every_conv'`` are
    ``norm1``, after the expansion, and ``norm2``, after the projection.

    Args:
        channels: C of the (N, C, H, W) input and output.
        design: switches for ablations.
        grn: add V2's global response normalization after the activation.
        layer_scale_init_value: initial value of ``gamma``, of shape (C,); 0 builds no layer scale.
        drop_path_rate: probability that a sample's branch is dropped in training, in [0, 1).
        with_cp: recompute the branch in the backward pass instead of storing its activations.
        kernels: 'auto', 'plain' or 'fast', see :mod:`mmconvnext.kernels`. The plain path, in this
            class, defines what the fast one computes.
        name: the block's name in messages.
        report: records which path the block takes.

    Raises:
        ValueError: the design cannot be built with these channels, or kernels='fast' and the fast
            path does not support the design.
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
                f"kernels='fast' does not support design {design.unfusible}; use 'auto' or 'plain'"
            )
        hidden = int(channels * design.expansion_ratio)
        if hidden < 1:
            raise ValueError(
                f'design.expansion_ratio={design.expansion_ratio!r} leaves no hidden channels in '
                f'a block of {channels}; use at least 1/{channels}'
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
        self._folded: dict | None = None  # folded weights by type, see fuse
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize the layer scale, the only parameter of the block itself."""
        if self.gamma is not None:
            nn.init.constant_(self.gamma, self.layer_scale_init_value)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W), on the fast path if that gives the same result."""
        parameters = fast_parameters(self, x)
        if parameters is not None:
            return run_fast(self, x, parameters)
        out = self.drop_path(self.recomputed(self._branch, x)) + x
        return self.act(out) if self.every_act else out

    def _branch(self, x: Tensor) -> Tensor:
        """The residual branch, as in the papers' figures."""
        if self.is_ablated:
            return ablated_branch(self, x)
        x = self.dwconv(x)
        x = x.permute(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C), a view
        x = norm_last(self.norm, x, self.design)
        x = self.pwconv1(x)
        x = self.act(x)
        if self.grn is not None:
            x = self.grn(x)
        x = self.pwconv2(x)
        if self.gamma is not None:
            x = self.gamma * x
        return x.permute(0, 3, 1, 2)  # (N, H, W, C) -> (N, C, H, W), a view

    @property
    def is_ablated(self) -> bool:
        """Whether the branch differs from the paper's in the order or number of its layers."""
        more_norms = self.norm1 is not None or self.norm2 is not None
        return more_norms or self.every_act or not self.spatial_first

    def recomputed(self, function: Callable, x: Tensor, *args) -> Tensor:
        """``function(x, *args)``; with ``with_cp``, its activations are recomputed in backward."""
        traced = not isinstance(x, Tensor)  # by torch.fx: nothing is stored yet
        if self.with_cp and not traced and torch.is_grad_enabled() and x.requires_grad:
            return checkpoint(function, x, *args, use_reentrant=False)
        return function(x, *args)

    def __getstate__(self) -> dict:
        """Pickle without the folded weights: their layout may not suit another machine."""
        return {**self.__dict__, '_folded': None if self._folded is None else {}}

    def train(self, mode: bool = True) -> ConvNeXtBlock:
        """Switch between training and evaluation mode; training mode undoes :meth:`fuse`."""
        if mode:
            self._folded = None
        return super().train(mode)

    def fuse(self) -> None:
        """Keep the folded weights between inference calls, one set per dtype.

        They are recomputed after any change to the parameters, however it was made.
        """
        self._folded = {}


def _num_groups(channels: int, group_width: int | None) -> int:
    """Number of groups of the spatial convolution."""
    if group_width is None:
        return 1
    if channels % group_width:
        raise ValueError(
            f'design.group_width={group_width} does not divide the {channels} channels of the '
            'spatial convolution; choose a divisor of the channels of every stage, or None for a '
            'dense convolution'
        )
    return channels // group_width
