# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The paper's design decisions as switches for ablations, one field per idea."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral, Real

CHOICES = {
    'stem': ('patchify', 'resnet', 'overlap', 'overlap_tiered', 'overlap_act'),
    'act': ('GELU', 'GELU_tanh', 'ReLU', 'SiLU'),
    'act_after': ('expansion', 'every_conv'),
    'norm': ('LN', 'BN', 'SyncBN', 'SimpleNorm'),
    'norm_after': ('spatial', 'every_conv'),
}

# The switches that the fast path supports with any value: those of the stem, which is outside the
# blocks, the width of the blocks and the epsilon of their norm. Any other switch turns the fast
# path off when it differs from the paper's value; so does a new switch until it is listed here.
FUSIBLE = ('stem', 'stem_patch_size', 'expansion_ratio', 'norm_eps')

# Official code (models/convnext.py) for LN; torch's default for batch norms; timm's for SimpleNorm.
DEFAULT_EPS = {'LN': 1e-6, 'BN': 1e-5, 'SyncBN': 1e-5, 'SimpleNorm': 1e-6}


@dataclass(frozen=True)
class Design:
    """The structure of a ConvNeXt; the defaults are the paper's final model.

    Sections are those of "A ConvNet for the 2020s" (arXiv 2201.03545). The stage ratio
    (section 2.2) is the backbone's ``arch``.

    Args:
        stem: 'patchify', a non-overlapping convolution, or 'resnet', a 7x7 convolution of stride 2
            with norm, activation and a 3x3 max pooling of stride 2 (section 2.2); or one of timm's
            (timm/models/convnext.py): 'overlap', two 3x3 convolutions of stride 2, then the norm;
            'overlap_tiered', the first with half the channels, to a multiple of 8; 'overlap_act',
            with the activation between them. All but 'patchify' are padded: sides are rounded up.
        stem_patch_size: kernel and stride in pixels of the patchify stem (section 2.2).
        group_width: channels in a group of the spatial convolution: 1 is depthwise, 32 is
            ResNeXt-like, None is one group, a dense convolution (section 2.3).
        expansion_ratio: hidden over block channels: 4 is the inverted bottleneck, 0.25 ResNet's
            bottleneck (section 2.4).
        spatial_first: the spatial convolution comes before the two pointwise ones (moved up), or
            between them (section 2.5).
        kernel_size: of the spatial convolution, odd, in pixels of the feature map (section 2.5);
            one for all stages, or a sequence with one per stage.
        act: activation (section 2.6, "Replacing ReLU with GELU").
        act_after: 'expansion', one activation per block, before the second pointwise convolution,
            or 'every_conv', as in ResNet: one after each convolution, and the last one after the
            residual sum (section 2.6, "Fewer activation functions").
        norm: normalization in stem, blocks, downsampling and outputs (section 2.6, "Substituting
            BN with LN"); 'SimpleNorm' is that of timm's ``convnext_zepto_rms``.
        norm_after: 'spatial', one norm per block, after the spatial convolution, or 'every_conv'
            (section 2.6, "Fewer normalization layers").
        norm_eps: added to the variance; None means 1e-5 for batch norms, 1e-6 for the others.

    Raises:
        ValueError: a value outside the ranges above.
    """

    stem: str = 'patchify'
    stem_patch_size: int = 4
    group_width: int | None = 1
    expansion_ratio: float = 4
    spatial_first: bool = True
    kernel_size: int | tuple[int, ...] = 7
    act: str = 'GELU'
    act_after: str = 'expansion'
    norm: str = 'LN'
    norm_after: str = 'spatial'
    norm_eps: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f'design.{name}={getattr(self, name)!r} is unknown; choose one of '
                    f'{list(allowed)}'
                )
        if not _is_int(self.stem_patch_size) or self.stem_patch_size < 1:
            self._refuse('stem_patch_size', 'a positive integer')
        if self.stem != 'patchify' and self.stem_patch_size != 4:
            raise ValueError(
                f'design.stem_patch_size={self.stem_patch_size!r} has no effect on '
                f'stem={self.stem!r}, whose stride is always 4; leave it out'
            )
        if self.group_width is not None and (not _is_int(self.group_width) or self.group_width < 1):
            self._refuse('group_width', 'a positive integer, or None for a dense convolution')
        if not _is_number(self.expansion_ratio) or self.expansion_ratio <= 0:
            self._refuse('expansion_ratio', 'a positive number')
        if not isinstance(self.spatial_first, bool):
            self._refuse('spatial_first', 'True or False')
        if isinstance(self.kernel_size, list):  # from a config; fields must be hashable
            object.__setattr__(self, 'kernel_size', tuple(self.kernel_size))
        kernels = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,)
        if not kernels or any(not _is_int(k) or k < 1 or k % 2 == 0 for k in kernels):
            self._refuse(
                'kernel_size',
                'a positive odd integer (even ones shift the map), or a list with one per stage',
            )
        if self.norm_eps is not None and (not _is_number(self.norm_eps) or self.norm_eps <= 0):
            self._refuse('norm_eps', 'a positive number, or None')

    @classmethod
    def of(cls, value: Design | Mapping | None) -> Design:
        """Build from the backbone's ``design`` argument: None, a dict of fields, or a Design.

        Raises:
            ValueError: an unknown field or a value out of range.
            TypeError: anything other than None, a dict or a Design.
        """
        if isinstance(value, cls):
            return value
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(f'design must be a dict or None, got {type(value).__name__}: {value!r}')
        value = dict(value or {})
        allowed = [field.name for field in fields(cls)]
        unknown = sorted(set(value) - set(allowed))
        if unknown:
            raise ValueError(f'design has unknown keys {unknown}; the keys are {allowed}')
        return cls(**value)

    def of_stages(self, count: int) -> list[Design]:
        """The design of each of ``count`` stages, with its own kernel size.

        Raises:
            ValueError: the number of kernel sizes is not the number of stages.
        """
        if not isinstance(self.kernel_size, tuple):
            return [self] * count
        if len(self.kernel_size) != count:
            self._refuse('kernel_size', f'one integer, or one for each of the {count} stages')
        return [replace(self, kernel_size=size) for size in self.kernel_size]

    @property
    def stem_stride(self) -> int:
        """Stride of the stem in pixels."""
        return self.stem_patch_size if self.stem == 'patchify' else 4

    @cached_property
    def unfusible(self) -> dict:
        """The switches, with their values, that the block's fast path does not support."""
        paper = type(self)()
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in FUSIBLE and getattr(self, field.name) != getattr(paper, field.name)
        }

    @property
    def eps(self) -> float:
        """The epsilon that every norm adds to the variance."""
        return DEFAULT_EPS[self.norm] if self.norm_eps is None else float(self.norm_eps)

    def _refuse(self, name: str, allowed: str) -> None:
        raise ValueError(f'design.{name} must be {allowed}, got {getattr(self, name)!r}')


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
