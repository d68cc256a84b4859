# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Do all label maps fit their images, and the values in them the classes of a segmentor?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmengine.config import Config

from ...data.label_values import IGNORE
from ..label_files import LabelFiles, label_files, reduces_zero_label, used_maps
from ..ranks import rank
from ..walk import LOADERS, datasets, dicts
from .finding import Finding
from .label_forms import check_forms
from .label_pairs import check_pairs, first_of
from .spelling import short

SHOWN = 8  # values that are named; our choice
OF_LOADER = re.compile(r'own_data\.(ids|ignore_ids|colours)\b')
WITHOUT_OWN_DATA = (
    "; without own_data, load the maps with dict(type='mmconvnext.LoadLabelMap', ...) and these "
    'arguments, instead of LoadAnnotations'
)


def check_labels(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check that all labels in the label maps are classes or 255, after ``reduce_zero_label``.

    A class without pixels is a warning. In distributed training only rank 0 checks the maps; the
    other ranks wait for it when the runner is built.
    """
    told = set()
    for finding in _check_labels(cfg, loaders):
        if finding in told:  # the splits may share their folders
            continue
        told.add(finding)
        if 'own_data' not in cfg and OF_LOADER.search(finding.text):
            finding = finding._replace(text=finding.text + WITHOUT_OWN_DATA)
        yield finding


def _check_labels(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    yield from _zero_label(cfg, loaders)
    if rank() != 0 and cfg.get('launcher', 'none') != 'none':
        return
    labels: dict[tuple, dict[str, set[int]]] = {}  # by meaning of the labels, by loader
    classes, learned = (), set()  # of the training data
    found, used = list(label_files(cfg, loaders)), used_maps(cfg)
    for files in found:
        yield from check_pairs(files, used)
        yield from check_forms(files)
        seen = labels_in(files)
        if not files.names:
            continue
        yield from _beyond(files)
        if not seen:
            continue
        meaning = (files.names, files.reduces, files.values.is_default)
        labels.setdefault(meaning, {}).setdefault(files.loader, set()).update(seen)
        if files.loader == LOADERS[0]:
            classes = classes or files.classes
            learned |= {n for i, n in enumerate(files.names, int(files.reduces)) if i in seen}
    for (names, reduces, is_default), by_loader in labels.items():
        if is_default:
            yield from _suspicious(by_loader, names, reduces)
    yield from _one_class(cfg, classes, found)
    absent = [name for name in classes if name not in learned]
    if absent and len(absent) == len(classes):
        yield Finding(f'{LOADERS[0]}: no label map contains any of the classes', 'no_objects')
    elif absent:
        yield Finding(f'{LOADERS[0]}: no label map contains {short(absent, 20)}: cannot be learned')


def labels_in(files: LabelFiles) -> Counter:
    """The number of maps that hold each label."""
    return Counter(i for content in files.contents.values() for i in files.values.of(content)[0])


def _zero_label(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check that ``reduce_zero_label`` is the same in all datasets."""
    reduces = {
        path: reduces_zero_label(cfg, dataset)
        for path, dataset in datasets(cfg, loaders)
        if (dataset.get('data_prefix') or {}).get('seg_map_path')
    }
    first = next(iter(reduces), '')
    for path, value in reduces.items():
        if value != reduces[first]:
            yield Finding(
                f'{path} has reduce_zero_label={value}, but {first} has {reduces[first]}: id 1 '
                f'would be class {1 - value} in one and class {int(value)} in the other; '
                'set the same value in all datasets (own_data.reduce_zero_label does)',
                'reduce_zero_label',
            )


def _beyond(files: LabelFiles) -> Iterator[Finding]:
    """Values without a class, including those above 255, of which mmseg keeps the low 8 bits."""
    highest = min(len(files.names) if files.reduces else len(files.names) - 1, IGNORE - 1)
    count, holding = Counter(), {}
    for file, content in files.contents.items():
        labels, wrong = files.values.of(content)
        if not files.values.table:
            wrong |= {label for label in labels if label > highest and label != IGNORE}
        count.update(wrong)
        if wrong:
            holding[file] = wrong
    if not count:
        return
    often = ', '.join(f'{value} in {count[value]}' for value in sorted(count)[:SHOWN])
    where = f'{often} of the maps, {first_of(files, _ordered(holding))}'
    translated = files.values.table
    if translated:
        what = 'colours' if files.values.in_colour else 'values'
        yield Finding(
            f'{files.path}: the {len(files.contents)} label maps contain {what} that own_data.'
            f'{translated} does not list: {_set(count)} ({where}); add the classes, list what has '
            f'no class in own_data.ignore_ids={_ignored(files, count)}, or correct the label maps',
            'label_ids',
        )
        return
    everything = {value for content in files.contents.values() for value in content.ids}
    yield Finding(
        f'{files.path}: the {len(files.contents)} label maps contain the ids {_set(everything)}, '
        f'but {len(files.names)} classes with reduce_zero_label={files.reduces} allow 0 to '
        f'{highest} and {IGNORE}: no class has {_set(count)} ({where}); '
        f'{_way(files, everything, set(count))}',
        'label_ids',
    )


def _ignored(files: LabelFiles, beyond: Iterable) -> str:
    more = sorted(set(beyond) - set(files.values.ignored))
    return str([*files.values.ignored, *more[:SHOWN]])[:-1] + (', ...]' if more[SHOWN:] else ']')


def _way(files: LabelFiles, ids: set[int], beyond: set[int]) -> str:
    """What may be right instead, most likely first."""
    ways, names, reduces = [], files.names, files.reduces
    if len(names) == 1:
        ways.append(_two_classes(names, ids))
    elif not reduces and beyond == {len(names)}:
        ways.append('if 0 means unlabelled, set own_data.reduce_zero_label=True')
    elif not reduces and len(ids) == len(names):
        ways.append(f'if these are the classes in their order, set own_data.ids={sorted(ids)}')
    elif not reduces and len(ids - {IGNORE}) == len(names):
        ways.append(
            f'if these are the classes in their order, set own_data.ids={sorted(ids - {IGNORE})}'
        )
    if len(beyond) <= SHOWN:
        ways.append(f'if no class is meant, set own_data.ignore_ids={_ignored(files, beyond)}')
    ways.append('otherwise correct own_data.classes or the label maps')
    wrap = max(beyond)
    note = f' (mmseg would keep the low 8 bits: {wrap} would be {wrap % 256})' if wrap > 255 else ''
    return '; '.join(ways) + note


def _suspicious(
    by_loader: dict[str, set[int]], names: tuple[str, ...], reduce_zero: bool
) -> Iterator[Finding]:
    """Ids that are allowed but most likely wrong, judged on all splits together."""
    everywhere = set().union(*by_loader.values())
    learned = by_loader.get(LOADERS[0], everywhere)
    where = ', '.join(by_loader)
    if learned == {0, IGNORE}:
        way = 'set own_data.ids=[...] to the value of each class in the files'
        if len(names) <= 2:
            two = 'set own_data.ids=[0, 255], which maps black and white masks to the ids 0 and 1'
            way = two if len(names) == 2 else _two_classes(names, learned)
        yield Finding(
            f'{next(iter(by_loader))}: the label maps contain the ids {_set(learned)}, and '
            f'{IGNORE} means "ignore", so only one class would be learned; {way}',
            'black_white',
        )
    if reduce_zero and everywhere - {IGNORE} == set(range(len(names))):
        # A test set alone may well lack the last class.
        yield Finding(
            f'{where}: the label maps contain the ids {_set(everywhere)}, one for each of the '
            f'{len(names)} classes, but reduce_zero_label=True drops id 0 and shifts the others, '
            f'so that {names[-1]!r} is in no map; set own_data.reduce_zero_label=False, unless 0 '
            'means unlabelled',
            'reduce_zero_label' if LOADERS[0] in by_loader else '',
        )


def _one_class(cfg: Config, classes: tuple[str, ...], found: list[LabelFiles]) -> Iterator[Finding]:
    if len(classes) != 1:
        return
    training = [files for files in found if files.loader == LOADERS[0]]
    seen = set().union(*map(labels_in, training)) - {IGNORE}
    ids = {i for files in training for content in files.contents.values() for i in content.ids}
    two = _two_classes(classes, ids)
    if not any(node.get('use_sigmoid') for _, node in dicts(cfg.get('model'))):
        yield Finding(
            f'{LOADERS[0]} has a single class, {classes[0]!r}, whose softmax is always 1, '
            f'so nothing would be learned; {two}',
            'one_class',
        )
    elif seen == {int(any(files.reduces for files in training))}:
        yield Finding(
            f'{LOADERS[0]} has a single class, {classes[0]!r}, and all other pixels are ignored, '
            f'so there is nothing to tell it from; {two}',
            'one_class',
        )


def _two_classes(names: tuple[str, ...], ids: Iterable[int] = ()) -> str:
    classes = f'write classes={["background", *names]}'
    if len(set(ids)) == 2 and set(ids) != {0, 1}:
        return f'{classes} with ids={sorted(set(ids))}'
    return f'{classes} with reduce_zero_label=False for the ids 0 and 1'


def _ordered(holding: dict[Path, set]) -> list[Path]:
    """Files with wrong values: first one for each value."""
    shown: dict[Path, None] = {}
    for value in sorted(set().union(*holding.values())):
        shown[next(file for file, wrong in holding.items() if value in wrong)] = None
    return list(shown | dict.fromkeys(holding))


def _set(values: Iterable) -> str:
    ordered = sorted(values)
    return '{' + ', '.join(map(str, ordered[:SHOWN])) + (', ...}' if ordered[SHOWN:] else '}')
