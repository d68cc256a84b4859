# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pretrained weights of a backbone: read, checked name by name, loaded or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Where a file keeps its weights: Meta 'model', OpenMMLab 'state_dict'.
ENVELOPES = ('state_dict', 'model')
# A classifier's own parts, in Meta's names: its last norm works on pooled features, and the
# official dense models start with fresh norms on every map.
CLASSIFIER = re.compile(r'(head|norm)\.')
# The norms of the returned maps, which no classifier has.
OUTPUT_NORMS = re.compile(r'norm\d+\.')


class CheckpointMismatch(ValueError):
    """A checkpoint does not fill the backbone; the message lists the first names of each side."""


def load_pretrained(
    backbone: nn.Module, checkpoint: str, prefix: str = '', map_location: str = 'cpu'
) -> str:
    """Load a file with Meta's parameter names into ``backbone``; return a line that says what.

    Every tensor of the backbone must be in the file with its shape, but for the output norms
    (``norm0`` ...), which stay as they are where the file has none. What the file has besides is an
    error too, but for the classifier's ``head`` and ``norm``.

    Args:
        backbone: what is filled; unchanged if an error is raised.
        checkpoint: path or http(s) URL; a download is kept in torch's hub folder.
        prefix: takes only the file's tensors below it, such as ``backbone.``.
        map_location: where the tensors are read to.

    Raises:
        CheckpointMismatch: a tensor is missing, left over or of another shape.
    """
    if not isinstance(checkpoint, str) or not checkpoint:
        raise ValueError(f'checkpoint must be a path or a URL, got {checkpoint!r}')
    content = _read(checkpoint, map_location)
    weights = _tensors(content, checkpoint)
    if prefix:
        prefix = prefix.rstrip('.') + '.'
        below = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
        if not below:
            raise CheckpointMismatch(
                f'{checkpoint} has no tensor below {prefix!r}; its names begin with '
                f'{sorted({k.partition(".")[0] for k in weights})[:5]}'
            )
        weights = below
    dropped = sorted(k for k in weights if CLASSIFIER.match(k))
    weights = {k: v for k, v in weights.items() if k not in dropped}
    own = backbone.state_dict()
    fresh = sorted(k for k in own if OUTPUT_NORMS.match(k) and k not in weights)
    _check(checkpoint, own, weights, fresh)
    backbone.load_state_dict(weights, strict=False)  # checked above, stricter than strict=True
    line = f'Loaded {len(weights)} of {len(own)} tensors from {checkpoint}'
    if fresh:
        line += f'; new: {", ".join(fresh)}'
    if dropped:
        line += f'; dropped: {", ".join(dropped)}'
    return line


def _read(checkpoint: str, map_location: str) -> object:
    """Read with ``weights_only=True``: mmengine's loader is not strict about that for URLs, nor,
    in the onedl set, for files."""
    if checkpoint.startswith(('http://', 'https://')):
        return torch.hub.load_state_dict_from_url(
            checkpoint, map_location=map_location, weights_only=True
        )
    return torch.load(checkpoint, map_location=map_location, weights_only=True)


def _tensors(content: object, checkpoint: str) -> dict[str, Tensor]:
    for key in ENVELOPES:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointMismatch(f'{checkpoint} holds no weights, but {type(content).__name__}')
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def _check(checkpoint: str, own: Mapping, weights: Mapping, fresh: list[str]) -> None:
    missing = [k for k in own if k not in weights and k not in fresh]
    unexpected = [k for k in weights if k not in own]
    shapes = [
        f'{k} {tuple(weights[k].shape)} for {tuple(own[k].shape)}'
        for k in own
        if k in weights and weights[k].shape != own[k].shape
    ]
    problems = {'missing': missing, 'left over': unexpected, 'of another shape': shapes}
    if any(problems.values()):
        raise CheckpointMismatch(
            f'{checkpoint} does not fit this backbone:\n'
            + '\n'.join(
                f'  {len(names)} {what}: {", ".join(names[:5])}{" ..." if len(names) > 5 else ""}'
                for what, names in problems.items()
                if names
            )
            + "\nCheck arch and version against the file; its names must be those of Meta's code."
        )
