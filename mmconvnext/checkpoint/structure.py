# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Read a network's design from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

EMPTY: Mapping = MappingProxyType({})
# The paper's values of the switches of Design that tensors reveal.
PAPER = dict(
    stem='patchify', stem_patch_size=4, group_width=1, expansion_ratio=4, kernel_size=7, norm='LN'
)
KERNEL = re.compile(r'stages\.(\d+)\.\d+\.dwconv\.weight')
EXPANSION = re.compile(r'stages\.\d+\.\d+\.pwconv1\.weight')
NORM = re.compile(r'stages\.\d+\.\d+\.norm\.(\w+)')
LAYER_SCALE = re.compile(r'stages\.\d+\.\d+\.gamma')


def design_of(tensors: Mapping[str, Tensor]) -> dict:
    """Switches of ``Design`` with their values, read from a state dict under our names.

    A switch whose value is not clear from the tensors is left out.
    """
    found = dict(
        expansion_ratio=_expansion_ratio(tensors),
        kernel_size=_kernel_size(tensors),
        norm=_norm(tensors),
    )
    shown = {name: value for name, value in found.items() if value is not None}
    return {**_stem(tensors), **_group_width(tensors), **shown}


def departures(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What departs from the paper, in words; 'both' means GRN together with layer scale."""
    found = {k: f'{k}={v!r}' for k, v in design_of(tensors).items() if v != PAPER[k]}
    scale, grn = any(map(LAYER_SCALE.fullmatch, tensors)), any('.grn.' in name for name in tensors)
    return {**found, 'both': 'GRN with layer scale'} if scale and grn else found


def _stem(tensors: Mapping[str, Tensor]) -> dict:
    layers = [tensors.get(f'downsample_layers.0.{i}.weight') for i in range(3)]
    first, second, third = (t if t is not None and t.ndim == 4 else None for t in layers)
    if first is None or first.shape[2] != first.shape[3]:
        return {}
    if third is not None:
        return dict(stem='overlap_act')
    if second is not None:
        tiered = first.shape[0] != second.shape[0]
        return dict(stem='overlap_tiered' if tiered else 'overlap')
    if first.shape[2] == 7:  # a patchify stem, or ResNet's
        return {}
    return dict(stem='patchify', stem_patch_size=first.shape[2])


def _group_width(tensors: Mapping[str, Tensor]) -> dict:
    filters = [v.shape for k, v in tensors.items() if KERNEL.fullmatch(k) and v.ndim == 4]
    widths = {shape[1] for shape in filters}
    if len(widths) == 1:
        return dict(group_width=widths.pop())
    dense = filters and all(shape[0] == shape[1] for shape in filters)
    return dict(group_width=None) if dense else {}


def _expansion_ratio(tensors: Mapping[str, Tensor]) -> float | None:
    shapes = [v.shape for k, v in tensors.items() if EXPANSION.fullmatch(k) and v.ndim == 2]
    ratios = {hidden / channels for hidden, channels in shapes if channels}
    ratio = ratios.pop() if len(ratios) == 1 else None
    return int(ratio) if ratio and ratio.is_integer() else ratio


def _kernel_size(tensors: Mapping[str, Tensor]) -> int | list[int] | None:
    sides: dict[int, set] = {}
    for name, value in tensors.items():
        match = KERNEL.fullmatch(name)
        if match:
            sides.setdefault(int(match[1]), set()).update(value.shape[2:])
    if not sides or any(len(of_stage) != 1 for of_stage in sides.values()):
        return None
    sizes = [sides[stage].pop() for stage in sorted(sides)]
    return sizes if len(set(sizes)) > 1 else sizes[0]


def _norm(tensors: Mapping[str, Tensor]) -> str | None:
    parts = {match[1] for match in map(NORM.fullmatch, tensors) if match}
    if 'running_mean' in parts:
        return 'BN'
    if 'bias' in parts:
        return 'LN'
    return 'SimpleNorm' if parts else None
