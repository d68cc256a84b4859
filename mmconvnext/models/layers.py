# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Layers that torch lacks, and the builders that read a :class:`Design`.

Shapes: N images, C channels, H rows, W columns. The blocks work on (N, H, W, C), where the
pointwise convolutions are linear layers; the rest of the network works on (N, C, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .design import Design


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of an (N, C, H, W) map.

    ``F.layer_norm`` accumulates in float32 for every input type, so half precision does not
    overflow. The permutes are views; the result is channels-last in memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SimpleNorm(nn.LayerNorm):
    """``x / std(x) * weight`` over the last dimension, without centring and without bias.

    Source: ``simple_norm`` in timm/layers/fast_norm.py. The variance is the unbiased one, computed
    in float32 or wider.

    Raises:
        ValueError: there is only one channel, so the standard deviation is undefined.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        if channels < 2:
            raise ValueError(f"norm='SimpleNorm' needs at least 2 channels, got {channels}")
        super().__init__(channels, eps=eps, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = torch.rsqrt(wide.var(dim=-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


class SimpleNorm2d(SimpleNorm):
    """SimpleNorm over the channels of an (N, C, H, W) map."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponseNorm(nn.Module):
    """Global response normalization of (N, H, W, C), ConvNeXt V2 section 3.2.

    Each channel is weighted by its L2 norm over the image, relative to the mean norm of all
    channels. ``gamma`` and ``beta``, of shape (C,), start at zero, so the layer starts as the
    identity. Norms are computed in float32, because a sum of H * W squares overflows float16.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        # eps: official models/utils.py of ConvNeXt-V2.
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))
        self.eps = eps
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset to the identity; torch calls this for layers that were built on the meta device."""
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)

    def forward(self, x: Tensor) -> Tensor:
        norm = _channel_norms(x)
        scale = norm / (norm.mean(dim=-1, keepdim=True) + self.eps)
        # gamma * scale first: where one channel dominates, x * scale would overflow float16.
        return x + x * (self.gamma * scale).to(x.dtype) + self.beta.to(x.dtype)


class DropPath(nn.Module):
    """Stochastic depth: zero a residual branch per sample, scale the kept ones by 1 / (1 - rate).

    "Deep Networks with Stochastic Depth" (arXiv 1603.09382), per sample as in timm. The first
    dimension is the samples. In evaluation mode it is the identity. Random numbers are drawn on the
    CPU, so that the fast path can skip a branch without waiting for the device.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    @property
    def active(self) -> bool:
        return self.training and self.rate > 0

    def draw(self, samples: int) -> Tensor | None:
        """Which samples keep their branch, bool (samples,); None if all do."""
        return _kept(samples, self.rate) if self.active else None

    def forward(self, x: Tensor) -> Tensor:
        keep = self.draw(x.shape[0])
        return x if keep is None else _scaled_samples(x, keep, self.rate)

    def extra_repr(self) -> str:
        return f'rate={self.rate:.3g}'


class Downsample(nn.Sequential):
    """Norm, then a 2x2 convolution of stride 2: halves H and W, rounding down (section 2.6).

    A side of one pixel is zero-padded to two, so that the smallest map is 1 x 1 instead of an
    error.
    """

    def __init__(self, in_channels: int, out_channels: int, design: Design) -> None:
        super().__init__(
            build_norm(design, in_channels),
            nn.Conv2d(in_channels, out_channels, kernel_size=2, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self[1](_at_least_2x2(self[0](x)))


def build_stem(design: Design, in_channels: int, channels: int) -> nn.Sequential:
    """The stem of (N, in_channels, H, W) -> (N, channels, H // stride, W // stride)."""
    if design.stem == 'patchify':
        patch = design.stem_patch_size
        return nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size=patch, stride=patch),
            build_norm(design, channels),
        )
    if design.stem == 'resnet':
        return nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size=7, stride=2, padding=3),
            build_norm(design, channels),
            build_act(design),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
    middle = _tier(channels) if design.stem == 'overlap_tiered' else channels
    return nn.Sequential(
        nn.Conv2d(in_channels, middle, kernel_size=3, stride=2, padding=1),
        *([build_act(design)] if design.stem == 'overlap_act' else []),
        nn.Conv2d(middle, channels, kernel_size=3, stride=2, padding=1),
        build_norm(design, channels),
    )


def _tier(channels: int) -> int:
    """Half of the channels, rounded to a multiple of 8 that is at least 90 % of the half.

    Source: ``make_divisible`` of timm.
    """
    half = channels // 2
    near = max(8, (half + 4) // 8 * 8)
    return near if near >= 0.9 * half else near + 8


def build_norm(design: Design, channels: int, channels_last: bool = False) -> nn.Module:
    """The design's norm for (N, C, H, W), or with ``channels_last`` for :func:`norm_last`."""
    if design.norm == 'LN':
        return (nn.LayerNorm if channels_last else LayerNorm2d)(channels, eps=design.eps)
    if design.norm == 'SimpleNorm':
        return (SimpleNorm if channels_last else SimpleNorm2d)(channels, eps=design.eps)
    kind = nn.BatchNorm2d if design.norm == 'BN' else nn.SyncBatchNorm
    return kind(channels, eps=design.eps)


def norm_last(norm: nn.Module, x: Tensor, design: Design) -> Tensor:
    """Apply ``norm`` to (N, H, W, C): the design's norm, or a module that has replaced or wraps it.

    Batch norms take (N, C, H, W) here too, because mmengine and torch convert SyncBN to BN and back
    by building new modules.
    """
    if isinstance(norm, (nn.LayerNorm, _BatchNorm)):
        channels_last = isinstance(norm, nn.LayerNorm)
    else:
        channels_last = design.norm in ('LN', 'SimpleNorm')
    if channels_last:
        return norm(x)
    return norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def build_act(design: Design) -> nn.Module:
    """The design's activation."""
    if design.act == 'GELU_tanh':
        return nn.GELU(approximate='tanh')
    return {'GELU': nn.GELU, 'ReLU': nn.ReLU, 'SiLU': nn.SiLU}[design.act]()


# Functions that depend on the input's shape or type, or on random numbers: torch.fx records calls
# to them instead of tracing into them.


@fx.wrap
def _channel_norms(x: Tensor) -> Tensor:
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=wide)


@fx.wrap
def _kept(samples: int, rate: float) -> Tensor:
    return torch.rand(samples) >= rate


@fx.wrap
def _scaled_samples(x: Tensor, keep: Tensor, rate: float) -> Tensor:
    mask = keep.to(device=x.device, dtype=x.dtype, non_blocking=True)
    mask = mask.view(-1, *(1,) * (x.ndim - 1))
    return x * (mask / (1.0 - rate))


@fx.wrap
def _at_least_2x2(x: Tensor) -> Tensor:
    short_h, short_w = max(0, 2 - x.shape[2]), max(0, 2 - x.shape[3])
    return F.pad(x, (0, short_w, 0, short_h)) if short_h or short_w else x
