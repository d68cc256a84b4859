# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Formats recognised, and weights renamed from each to ours and back.

The functions map dicts to dicts and know nothing of files or modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .errors import CheckpointMismatch
from .layouts import LAYOUTS, to_our_layout
from .structure import departures
from .tables import FORMATS, META, META_SPARSE, NATIVE, TIMM, TIMM_CONV, Format

# facebookresearch/ConvNeXt, models/convnext_isotropic.py: blocks without stages.
ISOTROPIC = re.compile(r'((?!.*stages).*\.)?blocks\.0\.dwconv\.weight')


def detect(weights: Mapping[str, Tensor]) -> list[tuple[Format, str]]:
    """Find every ConvNeXt in a flat dict: its format and the prefix of its names."""
    found = []
    for name in weights:
        for row in FORMATS.values():
            match = row.signature.fullmatch(name)
            if match:
                found.append((_variant(row, weights, match['prefix']), match['prefix']))
                break  # rows that share a signature are told apart by _variant
    return found


def choose(
    tensors: Mapping[str, Tensor], prefix: str | None = None, strict: bool = True
) -> tuple[Format, str]:
    """The one ConvNeXt among the tensors: its format and the prefix of its names.

    Args:
        tensors: a flat dict.
        prefix: what its names begin with at least; None looks everywhere.
        strict: False takes weights without a known name for our own.

    Raises:
        CheckpointMismatch: there is none, or more than one.
    """
    if prefix:
        prefix = prefix.rstrip('.') + '.'
    found = [(row, at) for row, at in detect(tensors) if prefix is None or at.startswith(prefix)]
    places = sorted({at for _, at in found})
    if len(places) == 1:
        return found[0]
    if places:
        raise CheckpointMismatch(
            f'there are {len(places)} ConvNeXts, below {places}; choose with prefix='
        )
    if not strict:
        return META, prefix or ''
    if any(ISOTROPIC.fullmatch(name) for name in tensors):
        raise CheckpointMismatch(
            "these are names of an isotropic ConvNeXt (Meta's convnext_iso_*, section 3.3 of the "
            'paper), which has one map of stride 16 and no pyramid; this package does not have it'
        )
    begin = sorted({name.partition('.')[0] for name in tensors})
    where = f'below {prefix!r} ' if prefix else ''
    raise CheckpointMismatch(
        f'there is no ConvNeXt {where}in any known format ({", ".join(FORMATS)}); the names begin '
        f'with {listed(begin)}'
    )


def split(tensors: Mapping[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], list[str]]:
    """What lies below the prefix, without it, and the names of the rest."""
    inside = {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
    return inside, [name for name in tensors if not name.startswith(prefix)]


def beside_network(row: Format, outside: Iterable[str], prefix: str) -> list[str]:
    """Which names outside the prefix are of a head or decoder, not of a model around the network.

    mmpretrain and transformers have a classifier's head beside the network, FCMAE its decoder.
    """
    parent = prefix[: prefix.rstrip('.').rfind('.') + 1]
    heads = tuple(parent + head for head in ('head.fc.', 'head.layers.', 'classifier.'))
    decoder = row is META_SPARSE
    return [
        name
        for name in outside
        if name.startswith(heads) or (decoder and row.is_other(name.removeprefix(parent)))
    ]


def is_classifier(row: Format, inside: Iterable[str], outside: Iterable[str], prefix: str) -> bool:
    """Whether a classification head came with the network, below its prefix or beside it."""
    return any(name.startswith(('head.', 'classifier.')) for name in inside) or (
        row is not META_SPARSE and bool(beside_network(row, outside, prefix))
    )


def _variant(row: Format, weights: Mapping[str, Tensor], prefix: str) -> Format:
    """Tell formats of the same names apart by the layout of a tensor."""
    if row is NATIVE:
        grn = weights.get(f'{prefix}stages.0.0.grn.gamma')
        return NATIVE if grn is not None and grn.ndim == 1 else META
    if row is TIMM:
        linear = weights.get(f'{prefix}{TIMM.theirs("stages.0.0.pwconv1.weight")}')
        return TIMM_CONV if linear is not None and linear.ndim == 4 else TIMM
    return row


@dataclass(frozen=True)
class Native:
    """Weights under our names, and what was beside them."""

    tensors: dict[str, Tensor]
    final_norm: dict[str, Tensor]  # a classifier's: 'weight', 'bias'; empty if there is none
    final_norm_names: list[str]  # where it stands in ``tensors``, in formats that call it norm3
    dropped: list[str]  # names that the format announces: classifier, decoder
    unknown: list[str]  # names that it does not


def to_native(weights: Mapping[str, Tensor], row: Format) -> Native:
    """Rename and reshape the network's tensors; their names carry no prefix any more.

    Whoever calls this must refuse, or report, the unknown.
    """
    native = Native({}, {}, [], [], [])
    for name, value in weights.items():
        own = row.ours(name)
        part = row.final_norm_part(name)
        if part:
            native.final_norm[part] = value
        if own is not None:
            native.tensors[own] = to_our_layout(own, name, value)
            native.final_norm_names.extend([own] if part else [])
        elif part or row.is_other(name):
            native.dropped.append(name)
        else:
            native.unknown.append(name)
    return native


def from_native(tensors: Mapping[str, Tensor], row: Format) -> dict[str, Tensor]:
    """The reverse of :func:`to_native`, without prefix and envelope.

    Raises:
        CheckpointMismatch: a tensor for which the format has no name, such as output norms in timm,
            or a network that the format's code cannot build.
    """
    wanting = [what for key, what in departures(tensors).items() if key not in row.builds]
    if wanting:
        raise CheckpointMismatch(
            f'the code behind the format {row.name} builds no ConvNeXt with {", ".join(wanting)}; '
            'native is the format that holds it'
        )
    unknown = [name for name in tensors if row.theirs(name) is None]
    if unknown:
        raise CheckpointMismatch(f'the format {row.name} has no name for {listed(unknown)}')
    return {row.theirs(name): _layout(row, name)(value) for name, value in tensors.items()}


def _layout(row: Format, name: str) -> Callable[[Tensor], Tensor]:
    for pattern, layout in row.layouts.items():
        if re.fullmatch(pattern, name):
            return LAYOUTS[layout]
    return lambda tensor: tensor


def listed(names: Iterable[str], limit: int = 5) -> str:
    """The first names, for messages."""
    names = list(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
