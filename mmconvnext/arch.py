# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Published sizes of ConvNeXt V1 and V2: blocks and channels of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

VERSIONS = ('v1', 'v2')


@dataclass(frozen=True)
class Arch:
    """Blocks (``depths``) and channels of each stage, and the versions published in that size."""

    depths: tuple[int, ...]
    channels: tuple[int, ...]
    versions: tuple[str, ...] = VERSIONS


# Sources: tiny to large, V1: paper section 3; xlarge, V1: section 4.1, table 1.
# V2: ConvNeXt V2 (arXiv 2301.00808), appendix A.1; atto to nano of V1: timm's `convnext_*`.
# The stage ratio 1:1:3:1, which turns ResNet-50's (3, 4, 6, 3) into (3, 3, 9, 3), is section 2.2.
ARCHS = {
    'atto': Arch((2, 2, 6, 2), (40, 80, 160, 320)),
    'femto': Arch((2, 2, 6, 2), (48, 96, 192, 384)),
    'pico': Arch((2, 2, 6, 2), (64, 128, 256, 512)),
    'nano': Arch((2, 2, 8, 2), (80, 160, 320, 640)),
    'tiny': Arch((3, 3, 9, 3), (96, 192, 384, 768)),
    'small': Arch((3, 3, 27, 3), (96, 192, 384, 768), ('v1',)),
    'base': Arch((3, 3, 27, 3), (128, 256, 512, 1024)),
    'large': Arch((3, 3, 27, 3), (192, 384, 768, 1536)),
    'xlarge': Arch((3, 3, 27, 3), (256, 512, 1024, 2048), ('v1',)),
    'huge': Arch((3, 3, 27, 3), (352, 704, 1408, 2816), ('v2',)),
}


def get_arch(arch: str | Mapping, version: str = 'v1') -> Arch:
    """Turn the ``arch`` argument of the backbone into an :class:`Arch`.

    Args:
        arch: a name in ``ARCHS``, or a dict with the keys ``depths`` and ``channels``: sequences
            of positive integers, one per stage, of the same length.
        version: 'v1' or 'v2'. A named size must have been published in it.

    Raises:
        ValueError: unknown version or name, a name not published in that version, wrong keys,
            lengths that differ, or a value that is not a positive integer.
    """
    if version not in VERSIONS:
        raise ValueError(f'version={version!r} is unknown; choose one of {list(VERSIONS)}')
    if isinstance(arch, Mapping):
        return _custom_arch(arch)
    if not isinstance(arch, str) or arch not in ARCHS:
        raise ValueError(
            f'arch={arch!r} is unknown; choose one of {list(ARCHS)}, or pass your own as '
            'dict(depths=[3, 3, 9, 3], channels=[96, 192, 384, 768])'
        )
    row = ARCHS[arch]
    if version not in row.versions:
        published = [name for name, other in ARCHS.items() if version in other.versions]
        raise ValueError(
            f'arch={arch!r} was never published as ConvNeXt {version.upper()}, only as '
            f'{", ".join(v.upper() for v in row.versions)}; {version.upper()} has {published}. To '
            f'build it anyway, pass arch=dict(depths={list(row.depths)}, '
            f'channels={list(row.channels)})'
        )
    return row


def _custom_arch(arch: Mapping) -> Arch:
    if set(arch) != {'depths', 'channels'}:
        raise ValueError(
            f"an arch dict must have exactly the keys 'depths' and 'channels', got {sorted(arch)}"
        )
    values = {}
    for key in ('depths', 'channels'):
        value = arch[key]
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError(
                f'arch[{key!r}] must be a list with one integer per stage, got {value!r}'
            )
        if any(isinstance(n, bool) or not isinstance(n, Integral) or n < 1 for n in value):
            raise ValueError(f'arch[{key!r}] must contain positive integers, got {value!r}')
        values[key] = tuple(int(n) for n in value)
    if len(values['depths']) != len(values['channels']):
        raise ValueError(
            f'arch has {len(values["depths"])} depths {values["depths"]} but '
            f'{len(values["channels"])} channels {values["channels"]}; both need one per stage'
        )
    return Arch(**values)
