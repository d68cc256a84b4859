# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The dict as it is written in a config: what it may hold, and whether it was applied."""

from __future__ import annotations

import colorsys
import hashlib
import json
from dataclasses import dataclass

from mmengine.config import Config

from ..errors import RecipeError
from ..walk import LOADERS

MARK = 'applied'
REQUIRED = {'root', 'classes', 'train', 'val'}
OPTIONAL = {
    'mmdet': {'test', 'palette'},
    'mmseg': {'test', 'palette', 'reduce_zero_label', 'image_suffix', 'label_suffix'},
}


@dataclass(frozen=True)
class Split:
    """A folder of images, and a COCO file or a folder of label maps; None for a test set only."""

    images: str
    annotations: str | None


@dataclass(frozen=True)
class OwnData:
    """``own_data`` with its defaults; the splits by loader."""

    scope: str
    root: str
    classes: tuple[str, ...]
    palette: list[tuple[int, ...]]
    splits: dict[str, Split]
    reduce_zero_label: bool
    image_suffix: str
    label_suffix: str


def read(given: object, scope: str) -> OwnData:
    """Check ``own_data`` of a config.

    Raises:
        RecipeError: it is no dict, a key is missing, unknown or of the wrong kind.
    """
    if not isinstance(given, dict):
        raise RecipeError(f'own_data must be dict(root=..., classes=[...], ...), got {given!r}')
    given = {key: value for key, value in given.items() if key != MARK and value is not None}
    _check_keys('own_data', set(given), REQUIRED, OPTIONAL[scope])
    classes = given['classes']
    ordered = isinstance(classes, (list, tuple))  # a set has another order in every process
    if not ordered or not classes or any(not isinstance(c, str) for c in classes):
        raise RecipeError(
            f'own_data.classes must be a list with the name of every class, got {classes!r}'
        )
    palette = given.get('palette', _hues(len(classes)))
    if len(palette) != len(classes):
        raise RecipeError(f'own_data.palette has {len(palette)} colours for {len(classes)} classes')
    return OwnData(
        scope=scope,
        root=str(given['root']),
        classes=tuple(classes),
        palette=[tuple(colour) for colour in palette],
        splits=dict(zip(LOADERS, _splits(given))),
        reduce_zero_label=bool(given.get('reduce_zero_label', False)),
        image_suffix=given.get('image_suffix', '.jpg'),
        label_suffix=given.get('label_suffix', '.png'),
    )


def digest(own_data: dict) -> str:
    """What tells one ``own_data`` from another, the mark aside; survives dumping and loading."""
    content = {key: value for key, value in own_data.items() if key != MARK}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_applied(cfg: Config) -> bool:
    """Whether the config is what its ``own_data`` made of it, later changes aside."""
    own_data = cfg.get('own_data')
    return isinstance(own_data, dict) and own_data.get(MARK) == digest(own_data)


def _splits(given: dict) -> list[Split]:
    found = []
    for name in ('train', 'val', 'test'):
        split = given.get(name, given['val'])
        path = f'own_data.{name}'
        if not isinstance(split, dict):
            raise RecipeError(f'{path} must be dict(images=..., annotations=...), got {split!r}')
        keys = {key for key, value in split.items() if value is not None}
        labels = {'annotations'}
        _check_keys(path, keys, {'images'} | (labels if name != 'test' else set()), labels)
        found.append(Split(split['images'], split.get('annotations')))
    return found


def _hues(count: int) -> list[tuple[int, ...]]:
    """A colour for each class: mmdet has 80, and dies at drawing the 81st."""
    rgb = [colorsys.hsv_to_rgb(i / count, 1 - i % 3 / 4, 1 - i % 2 / 3) for i in range(count)]
    return [tuple(round(255 * part) for part in colour) for colour in rgb]


def _check_keys(name: str, keys: set, required: set, optional: set) -> None:
    missing, unknown = sorted(required - keys), sorted(keys - required - optional)
    optional = optional - required
    if missing or unknown:
        problem = f'lacks {missing}' if missing else f'has unknown keys {unknown}'
        raise RecipeError(
            f'{name} {problem}; it needs {sorted(required)}'
            + (f' and may have {sorted(optional)}' if optional else '')
        )
