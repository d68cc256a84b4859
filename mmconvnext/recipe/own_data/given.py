# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads ``own_data`` from a config: its keys are checked, and a mark says that it was applied."""

from __future__ import annotations

import colorsys
import hashlib
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import Config

from ..errors import RecipeError
from ..walk import LOADERS
from .label_values import is_colour
from .loading import OPTIONS

if TYPE_CHECKING:
    from .kinds.kind import DataKind

MARK = 'applied'
SPLITS = ('train', 'val', 'test')
BACKGROUND = {'background', 'bg', '_background_'}  # names of it, in lower case
GREY = (110, 110, 110)  # our choice


@dataclass(frozen=True)
class OwnData:
    """``own_data``, checked and with its defaults."""

    kind: DataKind
    root: str
    class_lists: dict[str, tuple[str, ...]]  # by key of own_data, in the order of the labels
    palette: list[tuple[int, ...]]  # RGB of each class
    splits: dict[str, dict]  # by loader; only a test set may lack labels
    options: dict[str, object]  # those of the kind, and of how images are loaded

    @property
    def classes(self) -> tuple[str, ...]:
        return sum(self.class_lists.values(), ())


def read(given: object, kind: DataKind) -> OwnData:
    """Check the ``own_data`` of a config against the keys that its kind of data needs and allows.

    Raises:
        RecipeError: it is not a dict, a key is missing or unknown, or a value has the wrong form.
    """
    if not isinstance(given, dict):
        raise RecipeError(f'own_data must be dict(root=..., classes=[...], ...), got {given!r}')
    given = {key: value for key, value in given.items() if key != MARK and value is not None}
    required = {'root', *kind.class_lists, 'train', 'val'}
    optional = {'test', 'palette', *kind.options, *OPTIONS}
    divides = 'divide' in vars(type(kind))
    way = 'without files for validation write val=0.2' if divides else ''
    _check_keys('own_data', set(given), required, optional, way)
    for key in kind.class_lists:
        names = given[key]
        ordered = isinstance(names, (list, tuple))  # a set has another order in every process
        if not ordered or not names or any(not isinstance(name, str) for name in names):
            raise RecipeError(
                f'own_data.{key} must be a list with the name of every class, got {names!r}'
            )
    class_lists = {key: tuple(given[key]) for key in kind.class_lists}
    count = sum(map(len, class_lists.values()))
    for key, default in kind.options.items():
        if isinstance(default, bool) and not isinstance(given.get(key, default), bool):
            raise RecipeError(f'own_data.{key}={given[key]!r}: choose True or False')
    return OwnData(
        kind=kind,
        root=str(given['root']),
        class_lists=class_lists,
        palette=_palette(given.get('palette', _hues(sum(class_lists.values(), ()))), count),
        splits=dict(zip(LOADERS, _splits(given, kind))),
        options={
            key: given.get(key, default) for key, default in {**OPTIONS, **kind.options}.items()
        },
    )


def digest(own_data: dict) -> str:
    """A hash of ``own_data`` without the mark; the same after a config is dumped and read again."""
    content = {key: value for key, value in own_data.items() if key != MARK}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_applied(cfg: Config) -> bool:
    """Whether the current ``own_data`` was applied to the config."""
    own_data = cfg.get('own_data')
    return isinstance(own_data, dict) and own_data.get(MARK) == digest(own_data)


def _splits(given: dict, kind: DataKind) -> list[dict]:
    options = {key: given.get(key, default) for key, default in kind.options.items()}
    root, part = given['root'], given['val']
    if isinstance(part, float):
        given = dict(given, val=given['train'])
    found = [_split(name, given.get(name, given['val']), kind) for name in SPLITS]
    found = [_chosen(name, split, kind, root, options) for name, split in zip(SPLITS, found)]
    if isinstance(part, float):
        try:
            train, val = kind.divide(root, found[0], part, options)
        except ValueError as error:
            raise RecipeError(f'own_data.val={part!r}: {error}') from error
        found = [train, val, found[2] if 'test' in given else val]
    try:
        return [kind.complete(root, split, options) for split in found]
    except ValueError as error:
        raise RecipeError(f'own_data: {error}') from error


def _split(name: str, split: object, kind: DataKind) -> dict:
    path = f'own_data.{name}'
    if not isinstance(split, dict):
        form = ', '.join(f'{key}=...' for key in ('images', *kind.labels))
        part = ', or a part of the training data such as 0.2' if name == 'val' else ''
        raise RecipeError(f'{path} must be dict({form}){part}, got {split!r}')
    split = {key: value for key, value in split.items() if value is not None}
    labels, optional = set(kind.labels), {'names', *kind.evaluated}
    if name == 'train':
        optional = {'names'}
    elif name == 'test' and not labels & set(split):
        labels, optional = set(), labels
    _check_keys(path, set(split), {'images', *labels}, optional)
    for key, value in split.items():
        if key != 'names' and not isinstance(value, (str, PathLike)):
            raise RecipeError(f'{path}.{key} must be one path below the root, got {value!r}')
    return split


def _chosen(name: str, split: dict, kind: DataKind, root: str, options: dict) -> dict:
    """The split with the images of its ``names`` only."""
    names = split.pop('names', None)
    if names is None:
        return split
    listed = isinstance(names, (str, list, tuple))
    if not listed or any(type(n) not in (str, int) for n in names):
        raise RecipeError(
            f'own_data.{name}.names must be a list of names of images, or a file with one in each '
            f'line, got {names!r}'
        )
    if not any(map(str.strip, map(str, names))):
        raise RecipeError(f'own_data.{name}.names is empty; leave it out to take all images')
    try:
        if isinstance(names, str):
            names = _lines(Path(root, names))
        return kind.choose(root, split, list(map(str, names)), options)
    except ValueError as error:
        raise RecipeError(f'own_data.{name}.names: {error}') from error


def _lines(file: Path) -> list[str]:
    """The lines of a file that are not blank.

    Raises:
        ValueError: there are none, or it cannot be read as UTF-8.
    """
    if not file.is_file():
        raise ValueError(f'{file} does not exist')
    try:
        lines = file.read_text(encoding='utf-8-sig').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f'{file} cannot be read: {error}; save it as UTF-8') from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ValueError(f'{file} is empty')
    return lines


def _palette(colours: object, count: int) -> list[tuple[int, ...]]:
    if not isinstance(colours, (list, tuple)):
        raise RecipeError(f'own_data.palette must be a list of colours (R, G, B), got {colours!r}')
    if len(colours) != count:
        raise RecipeError(f'own_data.palette has {len(colours)} colours for {count} classes')
    for colour in colours:
        if not is_colour(colour):
            raise RecipeError(
                f'own_data.palette has {colour!r}, which is not a colour (R, G, B) of whole '
                'numbers from 0 to 255'
            )
    return [tuple(colour) for colour in colours]


def _hues(names: list[str]) -> list[tuple[int, ...]]:
    """One colour per class: mmdet has 80, and raises when it draws the 81st.

    A background is grey, so that the others stand out.
    """
    count = len(names)
    rgb = [colorsys.hsv_to_rgb(i / count, 1 - i % 3 / 4, 1 - i % 2 / 3) for i in range(count)]
    return [
        GREY if name.lower() in BACKGROUND else tuple(round(255 * part) for part in colour)
        for name, colour in zip(names, rgb)
    ]


def _check_keys(name: str, keys: set, required: set, optional: set, way: str = '') -> None:
    """``way``: what to do without "val"."""
    missing, unknown = sorted(required - keys), sorted(keys - required - optional)
    if missing or unknown:
        problem = f'lacks {missing}' if missing else f'has unknown keys {unknown}'
        raise RecipeError(
            f'{name} {problem}; it needs {sorted(required)}'
            + (f' and may have {sorted(optional)}' if optional else '')
            + (f'; {way}' if missing == ['val'] and way else '')
        )
