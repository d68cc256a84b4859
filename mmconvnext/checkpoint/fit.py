# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Weights under our names against what a backbone needs: what is filled, and every reason not to.

Dicts in, dicts out; nothing is changed unless everything fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import CheckpointMismatch
from .formats import Native, listed
from .stem import STEM, inflate

LAYER_SCALE = re.compile(r'stages\.\d+\.\d+\.gamma')
OUTPUT_NORM = re.compile(r'norm\d+\.\w+')


@dataclass(frozen=True)
class Fit:
    """What is loaded: ``tensors`` fill the backbone but for ``fresh``, which stay as they are."""

    tensors: dict[str, Tensor]
    fresh: list[str]
    dropped: list[str]
    notes: list[str]
    problem: str = ''  # why a strict fit was refused, where the user asked for less


@dataclass(frozen=True)
class Shape:
    """The size of a network, read off its tensors."""

    version: str
    depths: tuple[int, ...]
    channels: tuple[int, ...]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Shape:
        blocks: dict[int, int] = {}
        channels: dict[int, int] = {}
        for name, value in tensors.items():
            match = re.fullmatch(r'stages\.(\d+)\.(\d+)\.pwconv2\.weight', name)
            if match:
                stage, block = int(match[1]), int(match[2])
                blocks[stage] = max(blocks.get(stage, 0), block + 1)
                channels[stage] = value.shape[0]
        version = 'v2' if any('.grn.' in name for name in tensors) else 'v1'
        stages = sorted(blocks)
        return cls(version, tuple(blocks[i] for i in stages), tuple(channels[i] for i in stages))

    def named(self, archs: Mapping) -> str | None:
        """The published size of these depths and channels."""
        size = (self.depths, self.channels)
        return next((k for k, arch in archs.items() if (arch.depths, arch.channels) == size), None)

    def describe(self, archs: Mapping) -> str:
        name = f'{self.named(archs)} ' if self.named(archs) else ''
        return f'{name}{self.version.upper()} (depths {self.depths}, channels {self.channels})'

    def settings(self, archs: Mapping) -> str:
        """The arguments that build a backbone of this size."""
        size = repr(self.named(archs) or dict(depths=[*self.depths], channels=[*self.channels]))
        return f'arch={size}, version={self.version!r}'


def fit(
    native: Native,
    own: Mapping[str, Tensor],
    archs: Mapping,
    *,
    is_classifier: bool = False,
    classifier_norm: str = 'drop',
    stem: str = 'repeat',
) -> Fit:
    """Match weights with ``own``, the backbone's state dict.

    Args:
        native: the weights.
        own: the tensors to be filled.
        archs: published sizes, to speak of them by name.
        is_classifier: the weights come from a classifier: a norm3 alone is its final norm.
        classifier_norm: 'drop', as the official dense models do, which start with fresh norms; or
            'reuse' as the norm of the last map.
        stem: how the filters for the file's channels become those for in_channels, see
            :func:`.stem.inflate`.

    Raises:
        CheckpointMismatch: anything that would leave the backbone other than the weights say.
    """
    if classifier_norm not in ('drop', 'reuse'):
        raise ValueError(f"classifier_norm={classifier_norm!r}: choose 'drop' or 'reuse'")
    tensors, dropped, notes = dict(native.tensors), list(native.dropped), []
    file, needed = Shape.of(tensors), Shape.of(own)
    if needed.version != file.version and not any(map(LAYER_SCALE.fullmatch, (*tensors, *own))):
        raise CheckpointMismatch(
            'only one of weights and backbone has GRN, and neither has layer scale: a V2 file that '
            'a converter has cut, or a V2 file for a V1 backbone without layer scale'
        )
    _compare_size(file, needed, archs)
    final_norm = _take_final_norm(native, tensors, own, is_classifier, dropped)
    if classifier_norm == 'reuse':
        notes.append(_reuse(final_norm, tensors, own))
    beside = [  # norms of maps that are not returned
        name
        for name in (*tensors, *native.unknown)
        if OUTPUT_NORM.fullmatch(name) and name not in own
    ]
    dropped += beside
    tensors = {name: value for name, value in tensors.items() if name not in beside}
    unknown = [name for name in native.unknown if name not in beside]
    if STEM in tensors and STEM in own and tensors[STEM].shape != own[STEM].shape:
        channels = own[STEM].shape[1]
        inflated = inflate(tensors[STEM], channels, stem)
        if inflated.shape == own[STEM].shape:
            notes.append(f'stem: {tensors[STEM].shape[1]} -> {channels} channels by {stem!r}')
            tensors[STEM] = inflated
    fresh = sorted(k for k in own if OUTPUT_NORM.fullmatch(k) and k not in tensors)
    _compare_names(tensors, own, fresh, unknown)
    _check_values(tensors, own)
    return Fit(tensors, fresh, sorted(dropped), notes)


def fit_leniently(native: Native, own: Mapping[str, Tensor], problem: str) -> Fit:
    """Only what has a name and a shape of the backbone's; ``problem`` is reported with it."""
    tensors = {k: v for k, v in native.tensors.items() if k in own and v.shape == own[k].shape}
    fresh = [name for name in own if name not in tensors]
    dropped = [*native.dropped, *native.unknown, *(k for k in native.tensors if k not in tensors)]
    return Fit(tensors, fresh, sorted(dropped), [], problem)


def _compare_size(file: Shape, own: Shape, archs: Mapping) -> None:
    if file != own:
        raise CheckpointMismatch(
            f'the weights are of {file.describe(archs)}, the backbone is {own.describe(archs)}; '
            f'set {file.settings(archs)}, or take weights of your size'
        )


def _take_final_norm(
    native: Native, tensors: dict, own: Mapping, is_classifier: bool, dropped: list[str]
) -> dict[str, Tensor]:
    """The classifier's norm, if there is one; taken out of ``tensors`` if it stood there.

    mmpretrain's classifiers call it norm3, as its dense models call the norm of the last map: it is
    the classifier's if the file says so, or if it cannot be all that this backbone needs.
    """
    inside = {n for n in tensors if OUTPUT_NORM.fullmatch(n) and tensors[n] is _part(native, n)}
    if not inside:
        return native.final_norm
    needed = {n for n in own if OUTPUT_NORM.fullmatch(n)}
    if not is_classifier and needed <= set(tensors):
        return {}
    dropped += inside
    for name in inside:
        del tensors[name]
    return native.final_norm


def _part(native: Native, name: str) -> Tensor | None:
    return native.final_norm.get(name.rpartition('.')[2])


def _reuse(final_norm: Mapping[str, Tensor], tensors: dict, own: Mapping) -> str:
    last = max((n.partition('.')[0] for n in own if OUTPUT_NORM.fullmatch(n)), default='')
    width = own[f'{last}.weight'].shape if last else None
    if set(final_norm) != {'weight', 'bias'} or final_norm['weight'].shape != width:
        raise CheckpointMismatch(
            "classifier_norm='reuse': the file has no final norm of a classifier that fits the "
            'last map; leave the option out'
        )
    tensors.update({f'{last}.{part}': value for part, value in final_norm.items()})
    return f"{last} is the classifier's norm"


def _compare_names(tensors: Mapping, own: Mapping, fresh: list[str], unknown: list[str]) -> None:
    missing = [k for k in own if k not in tensors and k not in fresh]
    left_over = [k for k in tensors if k not in own] + unknown
    shapes = [
        f'{k} {tuple(tensors[k].shape)} for {tuple(own[k].shape)}'
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    problems = {'missing': missing, 'left over': left_over, 'of another shape': shapes}
    lines = [f'  {len(names)} {what}: {listed(names)}' for what, names in problems.items() if names]
    if not lines:
        return
    scaled = [any(map(LAYER_SCALE.fullmatch, names)) for names in (tensors, own)]
    if scaled == [True, False]:
        lines.append('The file has layer scale: set layer_scale_init_value above 0')
    elif scaled == [False, True]:
        lines.append('The file has no layer scale: set layer_scale_init_value=0')
    raise CheckpointMismatch('\n'.join(['the weights do not fit the backbone:', *lines]))


def _check_values(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    kinds = [k for k, v in tensors.items() if v.is_floating_point() != own[k].is_floating_point()]
    if kinds:
        raise CheckpointMismatch(
            f'{listed(kinds)}: {tensors[kinds[0]].dtype} for {own[kinds[0]].dtype}; quantized '
            'weights cannot be loaded'
        )
    broken = [k for k, v in tensors.items() if not v.isfinite().all()]
    if broken:
        raise CheckpointMismatch(f'{listed(broken)}: NaN or infinite values')
    grn = [v for k, v in tensors.items() if '.grn.' in k]
    if grn and not any(torch.count_nonzero(v) for v in grn):
        raise CheckpointMismatch(
            'every gamma and beta of the global response normalization is zero, as before any '
            'training: a converter has lost them, and V2 would run without its GRN'
        )
