# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Class names: do the heads and the datasets of all loaders agree?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS, METRICS

from ..families import has_own_classes
from ..walk import datasets, dicts, registered
from .finding import Finding


def class_names(cfg: Config, dataset: dict) -> tuple[str, ...]:
    """The classes of a dataset config, from its metainfo or else from its type.

    A string is the path of a file with one name per line, as in mmengine.
    """
    names = (dataset.get('metainfo') or {}).get('classes')
    if names is None:
        names = getattr(dataset_type(cfg, dataset), 'METAINFO', {}).get('classes') or ()
    if isinstance(names, str):
        names = _from_file(names) or (names,)
    return tuple(names) if isinstance(names, Iterable) else ()


def dataset_type(cfg: Config, dataset: dict) -> type | None:
    """The class that a dataset config builds; None if it is not registered."""
    return registered(cfg, DATASETS, dataset)


def metric_type(cfg: Config, metric: dict) -> type | None:
    """The class that a metric config builds; None if it is not registered."""
    return registered(cfg, METRICS, metric)


def check_num_classes(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check that every head predicts as many classes as the datasets have."""
    found = {path: ds for path, ds in datasets(cfg, loaders) if not _has_tracking_classes(cfg, ds)}
    counts = {path: len(class_names(cfg, ds)) for path, ds in found.items()}
    counts = {path: count for path, count in counts.items() if count}
    if not counts:
        return
    where, expected = next(iter(counts.items()))
    things = thing_classes(cfg, found[where])
    things = None if things is None else len(things)
    wanted = {
        f'the number of classes of {path}': (count, expected) for path, count in counts.items()
    }
    for path, node in dicts(cfg.model, 'model'):
        if 'head' not in path or has_own_classes(path, node):
            continue
        if 'contrastive_cfg' in node and node.get('num_classes', 0) >= expected:
            continue  # Grounding DINO compares with words; the number is an upper bound
        if 'num_classes' in node:
            count = things if 'roi_head' in path else expected
            wanted[f'{path}.num_classes'] = (node.num_classes, count)
        if 'num_things_classes' in node:
            number = node.num_things_classes
            wanted[f'{path}.num_things_classes'] = (number, things)
            if 'num_stuff_classes' in node:
                number += node.num_stuff_classes
                wanted[f'{path}.num_things_classes + num_stuff_classes'] = (number, expected)
    for path, (count, right) in wanted.items():
        if right is not None and count != right:
            kind = 'classes' if right == expected else 'thing classes'
            lists = 'classes=[...]' + ', stuff_classes=[...]' * (things != expected)
            way = f'set both at once with own_data=dict({lists}, ...)'
            yield Finding(
                f'{path} is {count}, but {where} has {right} {kind}; {way}', 'num_classes'
            )


def _has_tracking_classes(cfg: Config, dataset: dict) -> bool:
    """Whether it is a tracking dataset (MOT) with default classes; trackers see only persons."""
    kinds = getattr(dataset_type(cfg, dataset), '__mro__', ())
    video = any(kind.__name__ == 'BaseVideoDataset' for kind in kinds)
    return video and not (dataset.get('metainfo') or {}).get('classes')


def thing_classes(cfg: Config, dataset: dict) -> tuple[str, ...] | None:
    """The classes that have instances: all, except in panoptic data; None if unknown."""
    metainfo = dataset.get('metainfo') or {}
    things = metainfo.get('thing_classes')
    of_type = getattr(dataset_type(cfg, dataset), 'METAINFO', {}).get('thing_classes')
    if things is None and of_type is not None:
        if metainfo.get('classes') is not None:
            return None  # the type's things are not among these classes
        things = of_type
    return class_names(cfg, dataset) if things is None else tuple(things)


def check_class_names(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check that class i has the same name in all datasets; evaluators only use the name."""
    first: tuple[str, tuple] | None = None
    nameless = []
    reads_texts = bool(cfg.model.get('language_model'))  # then each image has its own names
    for path, dataset in datasets(cfg, loaders):
        faults = [*_spelling(path, dataset.get('metainfo') or {})]
        yield from faults
        if faults:
            continue
        names = class_names(cfg, dataset)
        if not names:  # unknown if the type is not registered
            nameless += [path] if dataset_type(cfg, dataset) and not reads_texts else []
            continue
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
    for path in nameless if first else ():
        yield Finding(
            f'{path} has no classes, {first[0]} has {len(first[1])}; '
            'write the same metainfo=dict(classes=...) in all datasets',
            'class_names',
        )


def _spelling(path: str, metainfo: dict) -> Iterator[Finding]:
    names = metainfo.get('classes')
    if isinstance(names, str) and _from_file(names) is None:
        yield Finding(
            f'{path}: metainfo.classes is the string {names!r}, so each letter would be a '
            f'class; write classes=({names!r},)',
            'class_names',
        )
    elif not isinstance(names, (str, list, tuple, type(None))):
        yield Finding(
            f'{path}: metainfo.classes is the {type(names).__name__} {names!r}, but label i needs '
            'an i-th name; write a list or a tuple',
            'class_names',
        )
    elif isinstance(names, (list, tuple)) and any(not isinstance(n, str) for n in names):
        wrong = next(name for name in names if not isinstance(name, str))
        yield Finding(
            f'{path}: metainfo.classes contains {wrong!r}, which is not a name; write strings',
            'class_names',
        )
    for key in metainfo:
        if key != 'classes' and key.lower() == 'classes':
            yield Finding(f'{path}: metainfo.{key} has no effect; write classes', 'class_names')


def _from_file(path: str) -> list[str] | None:
    try:
        return list_from_file(path)
    except (TypeError, OSError):
        return None
