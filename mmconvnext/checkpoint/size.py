# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The size and the design of a network, from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .structure import EMPTY, LAYER_SCALE, design_of

LAST_LAYER = re.compile(r'stages\.(\d+)\.(\d+)\.pwconv2\.weight')
CUT = (
    'the weights have neither GRN nor layer scale: if a converter removed the GRN of a V2 file, '
    'they are unusable; if they were trained without it, '
)


@dataclass(frozen=True)
class Size:
    """Version, depths and channels of a network, and switches of its design."""

    version: str
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    layer_scale: bool
    design: dict

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Size:
        """Read from a state dict under our names."""
        depths: dict[int, int] = {}
        channels: dict[int, int] = {}
        for name, value in tensors.items():
            match = LAST_LAYER.fullmatch(name)
            if match and value.ndim:
                stage, block = int(match[1]), int(match[2])
                depths[stage] = max(depths.get(stage, 0), block + 1)
                channels[stage] = value.shape[0]
        stages = sorted(depths)
        return cls(
            version='v2' if any('.grn.' in name for name in tensors) else 'v1',
            depths=tuple(depths[i] for i in stages),
            channels=tuple(channels[i] for i in stages),
            layer_scale=any(map(LAYER_SCALE.fullmatch, tensors)),
            design=design_of(tensors),
        )

    def difference(
        self, own: Size, archs: Mapping, trained: Mapping = EMPTY, built: Mapping = EMPTY
    ) -> str:
        """How weights of this size differ from the backbone, and what to set; '' if they do not.

        Args:
            own: the backbone's size.
            archs: published sizes by name.
            trained: switches of ``Design`` of the weights that tensors do not reveal, if known.
            built: the same for the backbone.
        """
        if not self.depths:
            return 'the weights contain no ConvNeXt block'
        theirs, ours = {**self.design, **trained}, {**own.design, **built}
        design = {k: v for k, v in theirs.items() if k in ours and ours[k] != v}
        sized = (self.depths, self.channels) != (own.depths, own.channels)
        scaled = (self.version, self.layer_scale) != (own.version, own.layer_scale)
        faults, settings = [], []
        if sized or scaled:
            was, has = self._describe(archs), own._describe(archs)
            faults.append(f'the weights are for {was}, the backbone is {has}')
            settings += self._settings(archs, sized, scaled)
        if design:
            was, has = _arguments(design), _arguments({k: ours[k] for k in design})
            faults.append(f'the weights were trained with {was}, the backbone has {has}')
            settings.append(f'design=dict({was})')
        if not faults:
            return ''
        others = ', or use weights of your size' if sized or scaled else ''
        cut = CUT if scaled and self.version == 'v1' and not self.layer_scale else ''
        return f'{"; ".join(faults)}; {cut}set {", ".join(settings)}{others}'

    def _named(self, archs: Mapping) -> str | None:
        """The name of the published size with these depths and channels."""
        size = (self.depths, self.channels)
        return next((k for k, arch in archs.items() if (arch.depths, arch.channels) == size), None)

    def _describe(self, archs: Mapping) -> str:
        name = f'{self._named(archs)} ' if self._named(archs) else ''
        usual = (self.version == 'v1') == self.layer_scale
        scale = '' if usual else f' {"with" if self.layer_scale else "without"} layer scale'
        return (
            f'{name}{self.version.upper()}{scale} (depths {self.depths}, channels {self.channels})'
        )

    def _settings(self, archs: Mapping, sized: bool, scaled: bool) -> list[str]:
        """The arguments that build a backbone of this size."""
        size = repr(self._named(archs) or dict(depths=[*self.depths], channels=[*self.channels]))
        scale = f'layer_scale_init_value={"1e-6" if self.layer_scale else "0"}'
        return [
            *([f'arch={size}'] if sized else []),
            f'version={self.version!r}',
            *([scale] if scaled else []),
        ]


def _arguments(values: Mapping) -> str:
    return ', '.join(f'{name}={value!r}' for name, value in values.items())
