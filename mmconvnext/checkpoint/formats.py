# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Find a ConvNeXt in a state dict, and convert its tensors to our names and back.

Dicts in, dicts out: no files, no modules. All that is specific to one format is in :mod:`.tables`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .errors import CheckpointMismatch
from .format_spec import Format
from .layouts import LAYOUTS, to_our_layout
from .structure import departures
from .tables import FORMATS, META

# facebookresearch/ConvNeXt, models/convnext_isotropic.py: blocks without stages.
ISOTROPIC = re.compile(r'((?!.*stages).*\.)?blocks\.0\.dwconv\.weight')


@dataclass(frozen=True)
class Network:
    """A ConvNeXt found among the tensors of a file.

    Args:
        row: its format.
        prefix: what all its names begin with, such as 'backbone.'.
        inside: its tensors, named without the prefix.
        outside: the other tensors, with their full names.
    """

    row: Format
    prefix: str
    inside: Mapping[str, Tensor]
    outside: Mapping[str, Tensor]

    @property
    def beside(self) -> list[str]:
        """Names outside the prefix that belong to the network's own head or decoder.

        All other names outside of it belong to a model around the network, such as a detector.
        """
        parent = self.prefix[: self.prefix.rstrip('.').rfind('.') + 1]
        return [
            name
            for name in self.outside
            if name.startswith(parent) and self.row.is_beside(name[len(parent) :])
        ]

    @property
    def has_head(self) -> bool:
        """Whether a classification head comes with the network, under its prefix or beside it."""
        return bool(self.beside) or any(
            name.startswith(('head.', 'classifier.')) for name in self.inside
        )


def detect(weights: Mapping[str, Tensor]) -> list[tuple[Format, str]]:
    """Find every ConvNeXt in a flat dict: its format and the prefix of its names."""
    found = []
    for name in weights:
        for row in FORMATS.values():
            match = row.signature.fullmatch(name)
            if match and _has_mark(row, weights, match['prefix']):
                found.append((row, match['prefix']))
                break
    return found


def _has_mark(row: Format, weights: Mapping[str, Tensor], prefix: str) -> bool:
    if row.marked_by is None:
        return True
    name, axes = row.marked_by
    tensor = weights.get(prefix + row.theirs(name))
    return tensor is not None and tensor.ndim == axes


def find_network(
    tensors: Mapping[str, Tensor], prefix: str | None = None, strict: bool = True
) -> Network:
    """Find the one ConvNeXt among the tensors.

    Args:
        tensors: a flat dict.
        prefix: what the names of the network begin with, such as 'teacher.'; None searches all.
        strict: if False, names that match no format are taken to be our own.

    Raises:
        CheckpointMismatch: there is no ConvNeXt, or more than one.
    """
    row, at = _choose(tensors, prefix, strict)
    inside = {name[len(at) :]: v for name, v in tensors.items() if name.startswith(at)}
    outside = {name: v for name, v in tensors.items() if not name.startswith(at)}
    return Network(row, at, inside, outside)


def _choose(tensors: Mapping[str, Tensor], prefix: str | None, strict: bool) -> tuple[Format, str]:
    if prefix:
        prefix = prefix.rstrip('.') + '.'
    found = [(row, at) for row, at in detect(tensors) if prefix is None or at.startswith(prefix)]
    places = sorted({at for _, at in found})
    if len(places) == 1:
        return found[0]
    if places:
        raise CheckpointMismatch(
            f'found {len(places)} ConvNeXts, with the prefixes {places}; choose one with '
            f'prefix={places[0]!r}'
        )
    if not strict:
        return META, prefix or ''
    if any(ISOTROPIC.fullmatch(name) for name in tensors):
        raise CheckpointMismatch(
            "the names are those of an isotropic ConvNeXt (Meta's convnext_iso_*, section 3.3 of "
            'the paper), which has one feature map of stride 16 and no pyramid; this package does '
            'not support it'
        )
    begin = sorted({name.partition('.')[0] for name in tensors})
    where = f'with the prefix {prefix!r} ' if prefix else ''
    raise CheckpointMismatch(
        f'there is no ConvNeXt {where}in any known format ({", ".join(FORMATS)}); the names begin '
        f'with {listed(begin)}'
    )


@dataclass(frozen=True)
class Native:
    """Weights under our names, and what else the file holds."""

    tensors: dict[str, Tensor]
    final_norm: dict[str, Tensor]  # the classifier's: 'weight', 'bias'; empty if there is none
    final_norm_names: list[str]  # its names in ``tensors``, in formats that call it norm3
    dropped: list[str]  # other names known to the format: classifier, decoder
    unknown: list[str]  # all other names


def to_native(weights: Mapping[str, Tensor], row: Format) -> Native:
    """Rename and reshape the tensors of a network, whose names have no prefix.

    The caller must refuse or report the ``unknown`` names.
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
    """The reverse of :func:`to_native`, without prefix and checkpoint key.

    Raises:
        CheckpointMismatch: the format has no name for a tensor, such as output norms in timm, or
            the code behind it cannot build this network.
    """
    if row.our_code:
        return dict(tensors)
    unbuildable = [what for key, what in departures(tensors).items() if key not in row.builds]
    if unbuildable:
        raise CheckpointMismatch(
            f'the code behind the format {row.name} cannot build a ConvNeXt with '
            f'{", ".join(unbuildable)}; use the format native'
        )
    unknown = [name for name in tensors if row.theirs(name) is None]
    if unknown:
        raise CheckpointMismatch(f'the format {row.name} has no name for {listed(unknown)}')
    return {row.theirs(name): _layout(row, name)(value) for name, value in tensors.items()}


def format_to_write(target: str, channels: tuple[int, ...]) -> Format:
    """The format to write for a target such as 'timm', given the network's channels."""
    ends = (*channels[:1], *channels[-1:])
    for row in FORMATS.values():
        name, sizes = row.written_for
        if name == target and ends in sizes:
            return row
    return FORMATS[target]


def _layout(row: Format, name: str) -> Callable[[Tensor], Tensor]:
    for pattern, layout in row.layouts.items():
        if re.fullmatch(pattern, name):
            return LAYOUTS[layout]
    return lambda tensor: tensor


def listed(names: Iterable[str], limit: int = 5) -> str:
    """The first names, for a message, and how many more there are."""
    names = list(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
