# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Does label i mean class i in every annotation file of a detector?

mmdet numbers the categories in the order of the file, not of ``classes``:
``cat_ids = coco.get_cat_ids(cat_names=classes)``, in each dataset and evaluator. So a label means
the same everywhere only if every file lists all classes, in the order of ``classes``. Other
categories may come in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mmengine.config import Config

from ..errors import RecipeError
from ..walk import LOADERS, dicts
from .coco_file import ids_with_objects
from .finding import Finding
from .readers import Reader, annotation_readers
from .spelling import folded, short, shown


def check_categories(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check that label i is class i in the files of all datasets and evaluators of ``loaders``."""
    readers: list[Reader] = []
    for reader in annotation_readers(cfg, loaders):
        try:
            readers += [reader] if reader.categories else []
            fault = '' if reader.categories else f'{reader.shown} has no "categories"'
        except RecipeError as error:
            fault = str(error)
        if fault:
            yield Finding(f'{reader.path}: {fault}', 'missing_class')
    faulty: dict[tuple, bool] = {}  # evaluators and loaders read the same file
    sound = []
    for reader in readers:
        key = (reader.file, reader.classes, reader.order, reader.named)
        faults = [] if key in faulty else [*_doubles(reader), *_missing(reader, readers)]
        yield from faults
        if not faulty.setdefault(key, bool(faults)):
            sound.append(reader)
    yield from _order(sound)
    for reader in sound:
        yield from _classwise(reader)
    yield from _objects(cfg, loaders, sound)


def _doubles(reader: Reader) -> Iterator[Finding]:
    """A name with two ids, or an id with two names: each would get its own label."""
    head = f'{reader.path}: {reader.shown} lists '
    taken = set(reader.names)
    for name, count in Counter(reader.names).items():
        if count > 1:
            ids = [c.id for c in reader.taken if c.name == name]
            yield Finding(
                f'{head}the category {name!r} {count} times, with the ids {ids}, and each would be '
                f'its own class; {_way_out(reader, ids)}',
                'double_category',
            )
    by_id: dict[object, set] = {}
    for category in reader.categories:
        by_id.setdefault(category.id, set()).add(category.name)
    by_fold = {folded(name): name for name in reversed(reader.names)}
    for category in reader.categories:
        others = by_id[category.id] - {category.name}
        if category.name in taken and others:
            yield Finding(
                f'{head}{category.name!r} and {sorted(others)[0]!r} under the same '
                f'id {category.id}; give each its own id',
                'double_category',
            )
        near = by_fold.get(folded(category.name))
        if category.name in taken or near is None or not _objects_of(reader, [category.id]):
            continue
        left, right = shown(category.name, near)
        yield Finding(
            f'{head}{left} as well as {right}, but only {right} is a class, so objects of '
            f'{left} would be background; add both to classes, or give those objects the id of '
            f'{right}',
            'double_category',
        )


def _way_out(reader: Reader, ids: list[int]) -> str:
    if len(set(ids)) == 1:
        return 'delete all but one of these entries'
    used = _objects_of(reader, ids) or ids[-1:]
    if len(used) > 1:
        return f'objects use {used}: give them one id and delete the other entries'
    unused = ', '.join(str(i) for i in ids if i not in used)
    return f'delete the entry with id {unused}, which no object uses'


def _objects_of(reader: Reader, ids: list[int]) -> list[int]:
    return sorted(ids_with_objects(reader.file, set(ids)))


def _missing(reader: Reader, readers: list[Reader]) -> Iterator[Finding]:
    """A class that is not a category of the file: the labels after it would shift."""
    listed, classes = [category.name for category in reader.categories], list(reader.classes)
    missing = [name for name in classes if name not in listed]
    if reader.order == 'all':
        if not reader.fits:
            yield Finding(
                f'{reader.path}: {reader.shown} has {len(listed)} categories, all of which get '
                f'a label, but there are {len(classes)} classes; write classes={listed}',
                'missing_class',
            )
        return
    if not missing:
        return
    text = (
        f'{reader.path}: {len(classes) - len(missing)} of {len(classes)} class names match a '
        f'category of {reader.shown}: no match for {short(missing)} in {short(listed)}'
    )
    by_fold = {folded(name): name for name in listed if name not in classes}
    near = {name: by_fold[folded(name)] for name in missing if folded(name) in by_fold}
    if near:
        text += ', where {} differs from {} in case, spaces or the like'.format(
            *shown(*next(iter(near.items())))
        )
    complete = [r for r in readers if r.file != reader.file and set(classes) <= set(r.names)]
    if complete:  # another file has all classes, so this one is wrong
        other = complete[0]
        way = f'give it the "categories" of {other.shown}, in that order: {other.names}'
        way += '' if other.names == classes else f', and write classes={other.names}'
    else:
        kept = {*classes, *near.values()} & set(listed)
        objects = ids_with_objects(reader.file, {c.id for c in reader.categories})
        annotated = {c.name for c in reader.categories if c.id in objects}
        if not kept or (len(kept) < len(classes) == len(annotated)):
            kept = annotated or set(listed)
        way = f'write classes={[name for name in listed if name in kept]}, as in the file'
    yield Finding(f'{text}; {way}', 'missing_class')


def _order(readers: list[Reader]) -> Iterator[Finding]:
    """Check that every file lists the categories in the order of the classes."""
    wrong = [reader for reader in readers if not reader.fits]
    if not wrong:
        return
    first, right = wrong[0], [reader for reader in readers if reader.fits]
    orders = {tuple(reader.names) for reader in wrong}
    text = (
        f'{first.path}: {first.shown} lists its categories in a different order from classes, and '
        f'mmdet numbers them in the order of the file: label {_moved(first)}'
    )
    if not right and len(orders) == 1:
        way = f'write classes={first.names}'
    else:
        # No order of the classes fits all files.
        order = list(right[0].classes if right else first.names)
        differing = {r.shown for r in wrong if r.names != order}
        way = (
            f'the files differ, so reorder the "categories" of {", ".join(sorted(differing))} '
            f'to {order} (the ids can stay)' + ('' if right else f' and write classes={order}')
        )
    yield Finding(f'{text}; {way}', 'class_order')


def _moved(reader: Reader) -> str:
    pairs = enumerate(zip(reader.classes, reader.names))
    label, ours, theirs = next((i, a, b) for i, (a, b) in pairs if a != b)
    return f'{label} is {theirs!r} there and would be called {ours!r}'


def _classwise(reader: Reader) -> Iterator[Finding]:
    """pycocotools sorts APs by category id, but mmdet prints them next to names in file order."""
    ids = [category.id for category in reader.taken]
    if reader.classwise and ids != sorted(ids):
        yield Finding(
            f'{reader.path}: classwise=True would print the AP of one class next to the name of '
            f'another, because {reader.shown} does not list its categories by id ({ids[:5]} ...); '
            'set classwise=False, or give its categories ascending ids',
            'classwise',
        )


def _objects(cfg: Config, loaders: tuple, readers: list[Reader]) -> Iterator[Finding]:
    """Classes without objects: a warning for some of them, a refusal if no class has any."""
    told: set[tuple] = set()
    for loader in loaders:
        own = [reader for reader in readers if reader.path.startswith(loader)]
        files = tuple(dict.fromkeys(reader.file for reader in own))
        if not files or files in told:
            continue
        told.add(files)
        annotated: set[str] = set()
        for reader in own:
            ids = [category.id for category in reader.taken]
            names = reader.classes if reader.order == 'all' else reader.names
            found = ids_with_objects(reader.file, set(ids))
            annotated |= {name for i, name in zip(ids, names) if i in found}
        absent = [name for name in own[0].classes if name not in annotated]
        named = ', '.join(dict.fromkeys(reader.shown for reader in own))
        evaluator = cfg.get(loader.replace('dataloader', 'evaluator'))
        if not annotated and not any(metric.get('format_only') for _, metric in dicts(evaluator)):
            yield Finding(
                f'{loader}: no object of any class in {named}; its "annotations" need '
                f'a "category_id" from {short([c.id for c in own[0].taken])}',
                'no_objects',
            )
        elif annotated and absent:
            what = 'cannot be learned' if loader == LOADERS[0] else 'is left out of the average'
            yield Finding(f'{loader}: no object of {short(absent, 20)} in {named}: {what}')
