# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Weights under our names against what a backbone needs: what is filled, and every reason not to.

Dicts in, dicts out; nothing is changed unless everything fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import CheckpointMismatch
from .formats import Native, listed
from .size import Size
from .stem import STEM, inflate
from .structure import EMPTY

OUTPUT_NORM = re.compile(r'norm\d+\.\w+')
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Fit:
    """What is loaded: ``tensors`` fill the backbone but for ``fresh``, which stay as they are."""

    tensors: dict[str, Tensor]
    fresh: list[str]
    dropped: list[str]
    notes: list[str]
    problem: str = ''  # why a strict fit was refused, where the user asked for less


def fit(
    native: Native,
    own: Mapping[str, Tensor],
    archs: Mapping,
    *,
    is_classifier: bool = False,
    classifier_norm: str | None = None,
    pooled: bool = False,
    stem: str = 'repeat',
    strict: bool = True,
    trained: Mapping = EMPTY,
    built: Mapping = EMPTY,
) -> Fit:
    """Match weights with ``own``, the backbone's state dict.

    Args:
        native: the weights.
        own: the tensors to be filled.
        archs: published sizes, to speak of them by name.
        is_classifier: the weights come from a classifier: a norm3 alone is its final norm.
        classifier_norm: 'drop', as the official dense models do, which start with fresh norms; or
            'reuse' as the norm of the last map. None is 'reuse' where ``pooled`` and it is there.
        pooled: the backbone's norms work on pooled features, as a classifier's does.
        stem: how the filters for the file's channels become those for in_channels, see
            :func:`.stem.inflate`.
        strict: False takes whatever has a name and a shape of the backbone's.
        trained, built: of the weights, as far as known, and of the backbone: switches of the design
            that do not show in the tensors.

    Raises:
        CheckpointMismatch: anything that would leave the backbone other than the weights say; if
            not ``strict``, that nothing at all fits.
    """
    if classifier_norm not in ('drop', 'reuse', None):
        raise ValueError(f"classifier_norm={classifier_norm!r}: choose 'drop' or 'reuse'")
    tensors, dropped, notes = dict(native.tensors), list(native.dropped), []
    final_norm = _take_final_norm(native, tensors, own, is_classifier)
    last = f'norm{len(Size.of(own).channels) - 1}'
    needed = {k.partition('.')[2]: v.shape for k, v in own.items() if k.startswith(f'{last}.')}
    fits = bool(needed) and needed == {part: value.shape for part, value in final_norm.items()}
    if classifier_norm == 'reuse' and not fits:
        raise CheckpointMismatch(
            "classifier_norm='reuse': the file has no final norm of a classifier that fits the "
            'last map; leave the option out'
        )
    if fits and (classifier_norm == 'reuse' or (classifier_norm is None and pooled)):
        tensors.update({f'{last}.{part}': value for part, value in final_norm.items()})
        notes.append(f"{last} is the classifier's norm")
    dropped += [name for name in native.tensors if name not in tensors]
    beside = [  # norms of maps that are not returned
        name
        for name in (*tensors, *native.unknown)
        if OUTPUT_NORM.fullmatch(name) and name not in own
    ]
    dropped += beside
    tensors = {name: value for name, value in tensors.items() if name not in beside}
    unknown = [name for name in native.unknown if name not in beside]
    notes += _inflate(tensors, own, stem)
    fresh = _fresh(tensors, own)

    problem = (
        Size.of(tensors).difference(Size.of(own), archs, trained, built)
        or _compare_names(tensors, own, fresh, unknown)
        or _compare_values(tensors, own)
    )
    if problem and strict:
        raise CheckpointMismatch(problem)
    if problem:
        fitting = {k: v for k, v in tensors.items() if k in own and _fits(v, own[k])}
        dropped += [*unknown, *(name for name in tensors if name not in fitting)]
        tensors, fresh = fitting, [name for name in own if name not in fitting]
    if not tensors:
        raise CheckpointMismatch(f'nothing would be filled: {problem}')
    return Fit(tensors, sorted(fresh), sorted(dropped), notes, problem)


def _fresh(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What may stay as it is: whole output norms, and the counters of batch norms."""
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


def _take_final_norm(
    native: Native, tensors: dict, own: Mapping, is_classifier: bool
) -> Mapping[str, Tensor]:
    """The classifier's norm, if there is one; taken out of ``tensors`` if it stood there.

    mmpretrain's classifiers call it norm3, as its dense models call the norm of the last map. It is
    a map's if another map has a norm too. Alone, it is the classifier's if there is a head, or if
    the backbone needs more norms than that one.
    """
    inside = [n for n in tensors if OUTPUT_NORM.fullmatch(n) and n in native.final_norm_names]
    if not inside:
        return native.final_norm
    norms = {n.partition('.')[0] for n in tensors if OUTPUT_NORM.fullmatch(n)}
    needed = {n for n in own if OUTPUT_NORM.fullmatch(n)}
    if len(norms) > 1 or (not is_classifier and needed <= set(tensors)):
        return {}
    for name in inside:
        del tensors[name]
    return native.final_norm


def _compare_names(tensors: Mapping, own: Mapping, fresh: Iterable[str], unknown: list[str]) -> str:
    missing = [k for k in own if k not in tensors and k not in fresh]
    left_over = [k for k in tensors if k not in own] + unknown
    shapes = [
        f'{k} {tuple(tensors[k].shape)} for {tuple(own[k].shape)}'
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    problems = {'missing': missing, 'left over': left_over, 'of another shape': shapes}
    lines = [f'  {len(names)} {what}: {listed(names)}' for what, names in problems.items() if names]
    return '\n'.join(['the weights do not fit the backbone:', *lines]) if lines else ''


def _fits(tensor: Tensor, own: Tensor) -> bool:
    return tensor.shape == own.shape and (tensor.dtype in DTYPES or not own.is_floating_point())


def _compare_values(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    return described(unusable(tensors, own))


def unusable(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of tensors whose values cannot be right for those in ``own``, and why."""
    allowed = ', '.join(str(dtype).removeprefix('torch.') for dtype in DTYPES)
    faults = {}
    for name, tensor in tensors.items():
        kind = own[name].dtype
        if kind.is_floating_point and tensor.dtype not in DTYPES:
            faults[name] = f'{tensor.dtype}; weights must be one of {allowed}'
        elif not tensor.isfinite().all():
            faults[name] = 'NaN or infinite values'
        elif kind.is_floating_point and not tensor.to(kind).isfinite().all():
            faults[name] = f'values beyond {kind}'
    return faults


def described(faults: Mapping[str, str]) -> str:
    """Each fault after the first names that have it."""
    names: dict[str, list[str]] = {}
    for name, fault in faults.items():
        names.setdefault(fault, []).append(name)
    return '; '.join(f'{listed(those)}: {fault}' for fault, those in names.items())


def check_grn(tensors: Mapping[str, Tensor]) -> None:
    """Refuse a V2 network whose global response normalization is as before any training.

    Raises:
        CheckpointMismatch: every gamma and beta is zero.
    """
    grn = [v for k, v in tensors.items() if '.grn.' in k]
    if grn and not any(torch.count_nonzero(v) for v in grn):
        raise CheckpointMismatch(
            'every gamma and beta of the global response normalization is zero, as before any '
            'training: a converter has lost them, and V2 would run without its GRN'
        )
