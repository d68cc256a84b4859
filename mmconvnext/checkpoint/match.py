# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Match weights with the tensors of a backbone, or say why they do not fit.

Dicts in, dicts out; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import CheckpointMismatch
from .final_norm import OUTPUT_NORM, settle_final_norm
from .formats import Native, listed
from .size import Size
from .stem import STEM, inflate
from .structure import EMPTY

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Match:
    """The result: ``tensors`` fill the backbone, its ``missing`` ones keep their initial values."""

    tensors: dict[str, Tensor]
    missing: list[str]
    dropped: list[str]
    notes: list[str]
    problem: str = ''  # why strict loading fails; '' if it does not


def match_weights(
    native: Native,
    own: Mapping[str, Tensor],
    archs: Mapping,
    *,
    has_head: bool,
    classifier_norm: str | None = None,
    pooled: bool,
    stem: str = 'repeat',
    strict: bool,
    trained: Mapping = EMPTY,
    built: Mapping = EMPTY,
) -> Match:
    """Match weights with ``own``, the backbone's state dict.

    Args:
        native: the weights.
        own: the tensors to fill.
        archs: published sizes, for their names in messages.
        has_head: whether a classification head came with the weights.
        classifier_norm: 'drop' the classifier's norm, as the official dense models do, whose norms
            are newly initialized; or 'reuse' it as the norm of the last map. None means 'reuse' if
            ``pooled`` and the file has one.
        pooled: whether the backbone's norms are applied to pooled features, as a classifier's is.
        stem: how to adapt the stem's filters to ``in_channels``, see :func:`.stem.inflate`.
        strict: if False, take every tensor whose name and shape match.
        trained, built: switches of ``Design`` that tensors do not reveal: those of the weights, as
            far as known, and those of the backbone.

    Raises:
        CheckpointMismatch: the backbone would not be the network that was saved; without
            ``strict``, only if nothing at all fits.
        ValueError: ``classifier_norm`` or ``stem`` has an unknown value.
    """
    if classifier_norm not in ('drop', 'reuse', None):
        raise ValueError(f"classifier_norm={classifier_norm!r}: choose 'drop' or 'reuse'")
    needed_norms = [name for name in own if OUTPUT_NORM.fullmatch(name)]
    settled = settle_final_norm(native, has_head, needed_norms)
    reused = _reused_norm(settled.final_norm, own, classifier_norm, pooled)
    tensors = {**settled.tensors, **reused}
    notes = [f"{next(iter(reused)).partition('.')[0]} is the classifier's norm"] if reused else []
    unreturned = [  # norms of maps that the backbone does not return
        name
        for name in (*tensors, *native.unknown)
        if OUTPUT_NORM.fullmatch(name) and name not in own
    ]
    dropped = [*native.dropped, *(k for k in native.tensors if k not in tensors), *unreturned]
    tensors = {name: value for name, value in tensors.items() if name not in unreturned}
    unknown = [name for name in native.unknown if name not in unreturned]
    notes += _inflate(tensors, own, stem)
    missing = _may_be_missing(tensors, own)

    problem = (
        Size.of(tensors).difference(Size.of(own), archs, trained, built)
        or _compare_names(tensors, own, missing, unknown)
        or described(unusable(tensors, own))
    )
    if problem and strict:
        raise CheckpointMismatch(problem)
    if problem:
        fitting = {k: v for k, v in tensors.items() if k in own and _fits(v, own[k])}
        dropped += [*unknown, *(name for name in tensors if name not in fitting)]
        tensors, missing = fitting, [name for name in own if name not in fitting]
    if not tensors:
        raise CheckpointMismatch(f'nothing would be loaded: {problem}')
    return Match(tensors, sorted(missing), sorted(dropped), notes, problem)


def _reused_norm(
    final_norm: Mapping[str, Tensor], own: Mapping[str, Tensor], choice: str | None, pooled: bool
) -> dict[str, Tensor]:
    """The classifier's norm under the names of the last output norm, if it is to be reused."""
    last = f'norm{len(Size.of(own).channels) - 1}'
    named = {f'{last}.{part}': value for part, value in final_norm.items()}
    needed = {name: value.shape for name, value in own.items() if name.startswith(f'{last}.')}
    fits = bool(needed) and needed == {name: value.shape for name, value in named.items()}
    if choice == 'reuse' and not fits:
        raise CheckpointMismatch(
            "classifier_norm='reuse': the file has no classifier norm that fits the last feature "
            'map; leave the option out'
        )
    return named if fits and (choice == 'reuse' or (choice is None and pooled)) else {}


def _may_be_missing(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What may be missing: output norms without any tensor, and the counters of batch norms."""
    norms = {name.partition('.')[0] for name in tensors if OUTPUT_NORM.fullmatch(name)}
    return [
        name
        for name in own
        if name not in tensors
        and (
            (OUTPUT_NORM.fullmatch(name) and name.partition('.')[0] not in norms)
            or name.endswith('.num_batches_tracked')
        )
    ]


def _inflate(tensors: dict[str, Tensor], own: Mapping[str, Tensor], rule: str) -> list[str]:
    given, wanted = tensors.get(STEM), own.get(STEM)
    if given is None or wanted is None or given.shape == wanted.shape or given.ndim != 4:
        return []
    inflated = inflate(given, wanted.shape[1], rule)
    if inflated.shape != wanted.shape:
        return []
    tensors[STEM] = inflated
    return [f'stem: {given.shape[1]} -> {wanted.shape[1]} channels by {rule!r}']


def _compare_names(
    tensors: Mapping, own: Mapping, may_be_missing: Iterable[str], unknown: list[str]
) -> str:
    missing = [k for k in own if k not in tensors and k not in may_be_missing]
    unexpected = [k for k in tensors if k not in own] + unknown
    shapes = [
        f'{k} {tuple(tensors[k].shape)} instead of {tuple(own[k].shape)}'
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    problems = {'missing': missing, 'unexpected': unexpected, 'with the wrong shape': shapes}
    lines = [f'  {len(names)} {what}: {listed(names)}' for what, names in problems.items() if names]
    return '\n'.join(['the weights do not fit the backbone:', *lines]) if lines else ''


def _fits(tensor: Tensor, own: Tensor) -> bool:
    return tensor.shape == own.shape and (tensor.dtype in DTYPES or not own.is_floating_point())


def unusable(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, str]:
    """Tensors whose dtype or values make them unusable for ``own``: name -> fault."""
    allowed = ', '.join(str(dtype).removeprefix('torch.') for dtype in DTYPES)
    faults = {}
    for name, tensor in tensors.items():
        kind = own[name].dtype
        if kind.is_floating_point and tensor.dtype not in DTYPES:
            faults[name] = f'{tensor.dtype}; weights must be one of {allowed}'
        elif not tensor.isfinite().all():
            faults[name] = 'NaN or infinite values'
        elif kind.is_floating_point and not tensor.to(kind).isfinite().all():
            faults[name] = f'values out of range for {kind}'
    return faults


def described(faults: Mapping[str, str]) -> str:
    """All faults as one text, each after the first names that have it."""
    names: dict[str, list[str]] = {}
    for name, fault in faults.items():
        names.setdefault(fault, []).append(name)
    return '; '.join(f'{listed(those)}: {fault}' for fault, those in names.items())


def check_grn(tensors: Mapping[str, Tensor]) -> None:
    """Refuse a V2 network whose global response normalization was lost.

    Raises:
        CheckpointMismatch: every gamma and beta is zero, their value before training.
    """
    grn = [v for k, v in tensors.items() if '.grn.' in k]
    if grn and not any(torch.count_nonzero(v) for v in grn):
        raise CheckpointMismatch(
            'every gamma and beta of the global response normalization (GRN) is zero, as before '
            'training: a converter lost them, so V2 would run without its GRN'
        )
