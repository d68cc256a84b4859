# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Class names: do the heads and the datasets of all loaders agree?"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS, METRICS, Registry, init_default_scope

from ..walk import datasets, dicts, task
from .finding import Finding


def class_names(cfg: Config, dataset: dict) -> tuple[str, ...]:
    """The classes of a dataset config: its metainfo, else those of its type.

    A string is the path of a file with a name a line, as for mmengine.
    """
    names = (dataset.get('metainfo') or {}).get('classes')
    if names is None:
        names = getattr(dataset_type(cfg, dataset), 'METAINFO', {}).get('classes') or ()
    if isinstance(names, str):
        names = _from_file(names) or (names,)
    return tuple(names)


def dataset_type(cfg: Config, dataset: dict) -> type | None:
    """The class that a dataset config builds; None if it is not registered."""
    return _registered(cfg, DATASETS, dataset.get('type'))


def metric_type(cfg: Config, metric: dict) -> type | None:
    """The class that a metric config builds; None if it is not registered."""
    return _registered(cfg, METRICS, metric.get('type'))


def check_num_classes(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Every head predicts as many classes as the datasets have."""
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
            yield Finding(
                f'{path} is {count}, but {where} has {expected} classes; set both at once '
                'with own_data=dict(classes=[...], ...)',
                'num_classes',
            )


def check_class_names(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Class i has one name in all datasets: the evaluator and the pictures take the name alone."""
    first: tuple[str, tuple] | None = None
    for path, dataset in datasets(cfg, loaders):
        yield from _spelling(path, dataset.get('metainfo') or {})
        names = class_names(cfg, dataset)
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            yield Finding(f'{path} has the class {twice[0]!r} twice; write it once', 'class_names')
        first = first or (path, names)
        if names != first[1] and len(names) == len(first[1]):
            i = next(i for i, pair in enumerate(zip(names, first[1])) if len(set(pair)) > 1)
            yield Finding(
                f'{path} calls class {i} {names[i]!r}, {first[0]} calls it {first[1][i]!r}; '
                'write the same metainfo=dict(classes=...) in all datasets',
                'class_names',
            )


def _spelling(path: str, metainfo: dict) -> Iterator[Finding]:
    names = metainfo.get('classes')
    if isinstance(names, str) and _from_file(names) is None:
        yield Finding(
            f'{path}: metainfo.classes is the string {names!r}, of which each letter would be a '
            f'class; write classes=({names!r},)',
            'class_names',
        )
    for key in metainfo:
        if key != 'classes' and key.lower() == 'classes':
            yield Finding(f'{path}: nobody reads metainfo.{key}; write classes', 'class_names')


def _from_file(path: str) -> list[str] | None:
    try:
        return list_from_file(path)
    except (TypeError, OSError):
        return None


def _registered(cfg: Config, registry: Registry, kind: object) -> type | None:
    if inspect.isclass(kind) or kind is None:
        return kind
    scope = task(cfg)
    init_default_scope(scope)
    with registry.switch_scope_and_registry(scope) as scoped:
        return scoped.get(kind)
