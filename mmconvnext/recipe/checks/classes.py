# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Class names: do heads, metainfo and COCO annotations agree?"""

from __future__ import annotations

import json
import mmap
import os

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from ..errors import RecipeError
from ..walk import datasets, dicts, task
from .files import is_remote

LONGEST = 2**24  # bytes read for the categories: LVIS's 1203 take less than one; our choice


def class_names(cfg: Config, dataset: dict) -> tuple[str, ...]:
    """The classes of a dataset config: its metainfo, else those of its type."""
    names = (dataset.get('metainfo') or {}).get('classes')
    if names is None:
        names = getattr(dataset_type(cfg, dataset), 'METAINFO', {}).get('classes') or ()
    return (names,) if isinstance(names, str) else tuple(names)


def dataset_type(cfg: Config, dataset: dict) -> type | None:
    """The class that a dataset config builds; None if it is not registered."""
    scope = task(cfg)
    init_default_scope(scope)
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.get(dataset.type)


def check_num_classes(cfg: Config, loaders: tuple) -> None:
    """Every head predicts as many classes as the datasets have.

    Raises:
        RecipeError: a head or a dataset differs.
    """
    counts = {path: len(class_names(cfg, ds)) for path, ds in datasets(cfg, loaders)}
    counts = {path: count for path, count in counts.items() if count}
    if not counts:
        return
    where, expected = next(iter(counts.items()))
    heads = {
        f'{path}.num_classes': node.num_classes
        for path, node in dicts(cfg.model, 'model')
        if 'num_classes' in node and 'head' in path
    }
    for path, count in {**counts, **heads}.items():
        # RPN-like heads know one class, the object, whatever the data.
        if count != expected and not (count == 1 and 'rpn' in path):
            raise RecipeError(
                f'{path} is {count}, but {where} has {expected} classes; set both at once '
                'with own_data=dict(classes=[...], ...)'
            )


def check_categories(cfg: Config, loaders: tuple) -> list[str]:
    """The class names of detection datasets occur among the categories of their COCO file.

    Returns a warning for a dataset of which only some do.

    Raises:
        RecipeError: none does, so that training would see no object at all.
    """
    warnings = []
    for path, dataset in datasets(cfg, loaders):
        ann_file = os.path.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')
        if is_remote(dataset) or not ann_file.endswith('.json'):
            continue
        names, categories = class_names(cfg, dataset), read_categories(ann_file)
        missing = [name for name in names if name not in categories]
        if names and len(missing) == len(names):
            raise RecipeError(
                f'{path}: 0 of {len(names)} class names match a category of {ann_file}: '
                f'{_short(names)} against {_short(categories)}; set own_data.classes to the names '
                'in the file'
            )
        if missing:
            warnings.append(f'{path}: no category of {ann_file} is called {_short(missing)}')
    return warnings


def read_categories(ann_file: str) -> list[str]:
    """Names of the categories of a COCO file, without parsing its (huge) annotations.

    Raises:
        RecipeError: no COCO file.
    """
    problem = f'{ann_file} is no COCO annotation file: '
    if os.path.getsize(ann_file) == 0:
        raise RecipeError(problem + 'it is empty')
    with open(ann_file, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start = text.rfind(b'"categories"')
        if start < 0:
            raise RecipeError(problem + 'it has no "categories"')
        start += len('"categories"')
        value = text[start : start + LONGEST].decode('utf-8', errors='replace').lstrip(': \r\n\t')
    try:
        categories, _ = json.JSONDecoder().raw_decode(value)
        return [category['name'] for category in categories]
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(problem + f'its "categories" cannot be read ({error})') from error


def _short(names: list | tuple) -> str:
    return str(list(names[:5]))[:-1] + (', ...]' if len(names) > 5 else ']')
