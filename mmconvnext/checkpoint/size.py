# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The size of a network, read off the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

LAST_LAYER = re.compile(r'stages\.(\d+)\.(\d+)\.pwconv2\.weight')
LAYER_SCALE = re.compile(r'stages\.\d+\.\d+\.gamma')


@dataclass(frozen=True)
class Size:
    """Version, blocks and channels of each stage."""

    version: str
    depths: tuple[int, ...]
    channels: tuple[int, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Size:
        """From a state dict under our names."""
        depths: dict[int, int] = {}
        channels: dict[int, int] = {}
        for name, value in tensors.items():
            match = LAST_LAYER.fullmatch(name)
            if match and value.ndim:
                stage, block = int(match[1]), int(match[2])
                depths[stage] = max(depths.get(stage, 0), block + 1)
                channels[stage] = value.shape[0]
        version = 'v2' if any('.grn.' in name for name in tensors) else 'v1'
        stages = sorted(depths)
        return cls(version, tuple(depths[i] for i in stages), tuple(channels[i] for i in stages))

    def difference(self, own: Size, archs: Mapping, names: Iterable[str]) -> str:
        """What to say if the weights, of this size, are for another than the backbone; or ''.

        Args:
            own: the backbone's size.
            archs: published sizes by name.
            names: of all tensors on both sides.
        """
        if self == own:
            return ''
        if not self.depths:
            return 'there is no block of a ConvNeXt among the weights'
        if self.version != own.version and not any(map(LAYER_SCALE.fullmatch, names)):
            return (
                'only one of weights and backbone has GRN, and neither has layer scale: a V2 file '
                'that a converter has cut, or a V2 file for a V1 backbone without layer scale'
            )
        more = ' and leave layer_scale_init_value out' if self.version != own.version else ''
        return (
            f'the weights are of {self._describe(archs)}, the backbone is {own._describe(archs)}; '
            f'set {self._settings(archs)}{more}, or take weights of your size'
        )

    def _named(self, archs: Mapping) -> str | None:
        """The published size of these depths and channels."""
        size = (self.depths, self.channels)
        return next((k for k, arch in archs.items() if (arch.depths, arch.channels) == size), None)

    def _describe(self, archs: Mapping) -> str:
        name = f'{self._named(archs)} ' if self._named(archs) else ''
        return f'{name}{self.version.upper()} (depths {self.depths}, channels {self.channels})'

    def _settings(self, archs: Mapping) -> str:
        """The arguments that build a backbone of this size."""
        size = repr(self._named(archs) or dict(depths=[*self.depths], channels=[*self.channels]))
        return f'arch={size}, version={self.version!r}'
