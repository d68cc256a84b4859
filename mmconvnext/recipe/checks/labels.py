# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label maps of segmentation: do their ids fit the classes?"""

from __future__ import annotations

import inspect
import os
from itertools import islice
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from ..errors import RecipeError
from ..walk import datasets
from .classes import class_names, dataset_type
from .files import is_remote

SAMPLE = 20  # label maps looked at in each split; our choice, about a second for ADE20K
IGNORE = 255  # mmseg's ignore_index


def check_labels(cfg: Config, loaders: tuple) -> None:
    """The ids in a sample of label maps are classes, or 255, after ``reduce_zero_label``.

    Raises:
        RecipeError: ids beyond the classes, masks drawn in 0 and 255, a ``reduce_zero_label`` that
            would drop a class, or images without label maps.
    """
    for path, dataset in datasets(cfg, loaders):
        if is_remote(dataset):
            continue
        names = class_names(cfg, dataset)
        reduce_zero = bool(_setting(cfg, dataset, 'reduce_zero_label', False))
        seen = _ids(path, dataset, _setting(cfg, dataset, 'seg_map_suffix', '.png'))
        if names and seen:
            _judge(path, seen, len(names), reduce_zero)


def _judge(path: str, seen: set[int], count: int, reduce_zero: bool) -> None:
    found = f'{path}: the first label maps, up to {SAMPLE}, hold the ids {_short(seen)}, '
    if seen == {0, IGNORE}:
        raise RecipeError(
            f'{found}and {IGNORE} means "ignore": only one class would be learned. Masks drawn in '
            'black and white must be rewritten with the ids 0 and 1'
        )
    classes = seen - {IGNORE}
    if reduce_zero and classes == set(range(count)):
        raise RecipeError(
            f'{found}one for each of the {count} classes, but reduce_zero_label=True drops id 0 '
            'and shifts the others; set own_data.reduce_zero_label=False'
        )
    highest = count if reduce_zero else count - 1
    beyond = {i for i in classes if i > highest}
    if beyond:
        raise RecipeError(
            f'{found}but {count} classes with reduce_zero_label={reduce_zero} allow 0 to {highest} '
            f'and {IGNORE}: {_short(beyond)} is no class; correct own_data.classes or the masks'
        )


def _ids(path: str, dataset: dict, suffix: str) -> set[int]:
    prefix = dataset.get('data_prefix') or {}
    if not prefix.get('seg_map_path'):
        return set()
    folder = Path(os.path.join(dataset.get('data_root') or '', prefix['seg_map_path']))
    files = sorted(islice(folder.rglob(f'*{suffix}'), SAMPLE))
    if not files:
        raise RecipeError(f'{path}: no label map (*{suffix}) lies in {folder}')
    ids: set[int] = set()
    for file in files:
        with Image.open(file) as image:
            labels = np.asarray(image)
        if labels.ndim != 2:
            raise RecipeError(
                f'{path}: {file} has {labels.shape[-1]} channels; a label map has one, with the '
                'id of the class in every pixel'
            )
        ids.update(int(i) for i in np.unique(labels))
    return ids


def _setting(cfg: Config, dataset: dict, key: str, fallback: object) -> object:
    """A setting of a dataset: its config's, else its type's default, as ADE20KDataset has some."""
    if key in dataset:
        return dataset[key]
    for kind in getattr(dataset_type(cfg, dataset), '__mro__', ()):
        parameter = inspect.signature(kind.__init__).parameters.get(key)
        if parameter is not None:
            return parameter.default
    return fallback


def _short(ids: set[int]) -> str:
    ordered = sorted(ids)
    return '{' + ', '.join(map(str, ordered[:8])) + (', ...}' if len(ordered) > 8 else '}')
