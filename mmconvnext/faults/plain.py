# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Batches as plain data, so that a dump can be read without running what is in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from mmengine.utils import get_object_from_string
from torch import Tensor

from ..recipe.errors import RecipeError

KIND = '__kind__'
# The only packages whose classes a dump can name: those of the stack.
PACKAGES = ('mmengine', 'mmdet', 'mmseg', 'mmpretrain', 'mmpose', 'mmrotate')
# What a class is made from again: attributes that are the arguments of its constructor, in order.
BOXES, MASKS = ('tensor',), ('masks', 'height', 'width')


def to_plain(value: object) -> object:
    """A batch in dicts, lists, tensors, numbers and strings.

    Raises:
        TypeError: it holds an object of another kind.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return {KIND: 'array', 'value': torch.from_numpy(np.array(value))}
    if isinstance(value, Mapping):
        return {key: to_plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        inner = [to_plain(one) for one in value]
        return inner if isinstance(value, list) else {KIND: 'tuple', 'value': inner}
    name = f'{type(value).__module__}.{type(value).__qualname__}'
    if isinstance(value, BaseDataElement):
        meta, data = dict(value.metainfo_items()), dict(value.items())
        return {KIND: name, 'meta': to_plain(meta), 'data': to_plain(data)}
    for names in (BOXES, MASKS):
        if name.partition('.')[0] in PACKAGES and all(hasattr(value, one) for one in names):
            return {KIND: name, 'arguments': [to_plain(getattr(value, one)) for one in names]}
    raise TypeError(f'{name} cannot be stored as plain data')


def from_plain(value: object) -> object:
    """The batch of :func:`to_plain`.

    Raises:
        RecipeError: it names a class that no batch of the known packages holds.
    """
    if isinstance(value, list):
        return [from_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind is None:
        return {key: from_plain(inner) for key, inner in value.items()}
    if kind == 'array':
        return value['value'].numpy()
    if kind == 'tuple':
        return tuple(from_plain(value['value']))
    found = _named(kind)
    if 'arguments' in value:
        return found(*from_plain(value['arguments']))
    element = found(metainfo=from_plain(value['meta']))
    for name, inner in from_plain(value['data']).items():
        setattr(element, name, inner)
    return element


def _named(kind: object) -> type:
    """The class of a name; only structures, which hold data and do nothing."""
    words = str(kind).split('.')
    if words[0] in PACKAGES and 'structures' in words:
        found = get_object_from_string(kind)
        if isinstance(found, type):
            return found
    raise RecipeError(
        f'the dump holds an object of {kind}, which is no structure of {", ".join(PACKAGES)}: '
        'refused'
    )
