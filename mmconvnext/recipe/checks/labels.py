# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Do the ids in all label maps match the classes of a segmentor?"""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import list_dir_or_file, list_from_file

from ..ranks import rank
from ..walk import LOADERS, datasets, dicts
from .classes import class_names, dataset_type
from .files import is_remote
from .finding import Finding
from .label_maps import LabelMap, read_label_maps
from .spelling import short

IGNORE = 255  # mmseg's ignore_index


def check_labels(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check that all ids in the label maps are classes or 255, after ``reduce_zero_label``.

    A class without pixels is a warning. In distributed training only rank 0 reads the maps; the
    other ranks wait for it when the runner is built.
    """
    yield from _zero_label(cfg, loaders)
    if rank() != 0 and cfg.get('launcher', 'none') != 'none':
        return
    known: dict[Path, LabelMap] = {}
    ids: dict[tuple, dict[str, set[int]]] = {}  # by meaning of the ids, by loader
    classes, learned = (), set()  # of the training data
    for path, dataset in datasets(cfg, loaders):
        files = None if is_remote(dataset) else _label_maps(cfg, dataset)
        if files is None:
            continue
        if not files:
            yield Finding(f'{path}: {_no_pairs(cfg, dataset)}', 'label_maps')
        known.update(read_label_maps([file for file in files if file not in known], path))
        maps = {file: known[file] for file in files}
        yield from _readable(path, maps, str(_setting(cfg, dataset, 'seg_map_suffix', '.png')))
        names, reduce_zero = _names_of_ids(cfg, dataset), _reduces(cfg, dataset)
        seen = {i for content in maps.values() for i in content.ids}
        if not names or not seen:
            continue
        yield from _beyond(path, maps, names, reduce_zero)
        loader = path.split('.')[0]
        ids.setdefault((names, reduce_zero), {}).setdefault(loader, set()).update(seen)
        if loader == LOADERS[0]:
            classes = classes or class_names(cfg, dataset)
            learned |= {name for i, name in enumerate(names, int(reduce_zero)) if i in seen}
    for (names, reduce_zero), by_loader in ids.items():
        yield from _suspicious(by_loader, names, reduce_zero)
    absent = [name for name in classes if name not in learned]
    if len(classes) == 1 and not any(n.get('use_sigmoid') for _, n in dicts(cfg.get('model'))):
        yield Finding(
            f'{LOADERS[0]} has a single class, {classes[0]!r}, whose softmax is always 1, '
            f'so nothing would be learned; {_two_classes(classes)}',
            'one_class',
        )
    if absent and len(absent) == len(classes):
        yield Finding(f'{LOADERS[0]}: no label map contains any of the classes', 'no_objects')
    elif absent:
        yield Finding(f'{LOADERS[0]}: no label map contains {short(absent, 20)}: cannot be learned')


def _zero_label(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Check that ``reduce_zero_label`` is the same in all datasets."""
    reduces = {
        path: _reduces(cfg, dataset)
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


def _readable(path: str, maps: dict[Path, LabelMap], suffix: str) -> Iterator[Finding]:
    missing = [file for file, content in maps.items() if content.error and not file.is_file()]
    bad = {file: content for file, content in maps.items() if content.error}
    bad = {file: content for file, content in bad.items() if file not in missing}
    several = {file: content for file, content in maps.items() if content.channels > 1}
    if missing and len(missing) == len(maps):
        text = f'no image has a label map: {missing[0]} does not exist'
        yield Finding(f'{path}: {text}; correct the folder or label_suffix', 'label_maps')
    elif missing:
        text = f'{len(missing)} of {len(maps)} images have no label map, the first is {missing[0]}'
        way = 'add them, or remove the images'
        if all(f'{file}'.endswith(Path(suffix).stem + suffix) for file in missing):
            way = 'label maps are mistaken for images; move them to another folder'
        yield Finding(f'{path}: {text}; {way}', 'label_maps')
    if bad:
        file, content = next(iter(bad.items()))
        yield Finding(
            f'{path}: {len(bad)} of {len(maps)} label maps cannot be read, the first is {file} '
            f'({content.error}); replace them, or remove their images',
            'label_maps',
        )
    if several:
        file, content = next(iter(several.items()))
        yield Finding(
            f'{path}: {file} has {content.channels} channels; a label map has one, with a '
            f'class id in each pixel ({len(several)} of {len(maps)} maps need rewriting)',
            'label_maps',
        )


def _beyond(
    path: str, maps: dict[Path, LabelMap], names: tuple[str, ...], reduce_zero: bool
) -> Iterator[Finding]:
    """Ids that are not a class, including those above 255, which mmseg truncates to 8 bits."""
    highest = min(len(names) if reduce_zero else len(names) - 1, IGNORE - 1)
    count = Counter(i for content in maps.values() for i in content.ids)
    beyond = {i for i in count if not 0 <= i <= highest and i != IGNORE}
    if not beyond:
        return
    first = next(file for file, content in maps.items() if beyond & set(content.ids))
    often = ', '.join(f'{i} in {count[i]}' for i in sorted(beyond)[:8])
    way = 'correct own_data.classes or the label maps'
    if len(names) == 1:
        way = f'{_two_classes(names)}, or correct the label maps'
    elif not reduce_zero and beyond == {len(names)}:
        way = 'if 0 means unlabelled, set own_data.reduce_zero_label=True; otherwise ' + way
    yield Finding(
        f'{path}: the {len(maps)} label maps contain the ids {_set(set(count))}, but {len(names)} '
        f'classes with reduce_zero_label={reduce_zero} allow 0 to {highest} and {IGNORE}: '
        f'no class has {_set(beyond)} ({often} of the maps, the first is {first}); {way}',
        'label_ids',
    )


def _suspicious(
    by_loader: dict[str, set[int]], names: tuple[str, ...], reduce_zero: bool
) -> Iterator[Finding]:
    """Ids that are allowed but most likely wrong, judged on all splits together."""
    everywhere = set().union(*by_loader.values())
    learned = by_loader.get(LOADERS[0], everywhere)
    where = ', '.join(by_loader)
    if learned == {0, IGNORE}:
        yield Finding(
            f'{next(iter(by_loader))}: the label maps contain the ids {_set(learned)}, and '
            f'{IGNORE} means "ignore", so only one class would be learned; rewrite black and white '
            'masks with the ids 0 and 1',
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


def _two_classes(names: tuple[str, ...]) -> str:
    return (
        f'write classes={["background", *names]} with reduce_zero_label=False for the ids 0 and 1'
    )


def _names_of_ids(cfg: Config, dataset: dict) -> tuple[str, ...]:
    """The class of each id in the files, which mmseg maps to the config's classes by name."""
    known = getattr(dataset_type(cfg, dataset), 'METAINFO', {}).get('classes')
    return tuple(known) if known else class_names(cfg, dataset)


def _reduces(cfg: Config, dataset: dict) -> bool:
    return bool(_setting(cfg, dataset, 'reduce_zero_label'))


def _label_maps(cfg: Config, dataset: dict) -> list[Path] | None:
    """The files that the dataset loads: one for each image, or for each line of its ann_file.

    None for data without label maps.
    """
    root, prefix = dataset.get('data_root') or '', dataset.get('data_prefix') or {}
    if not prefix.get('seg_map_path'):
        return None
    suffix = _setting(cfg, dataset, 'seg_map_suffix', '.png')
    folder = Path(root, prefix['seg_map_path'])
    kinds = getattr(dataset_type(cfg, dataset), '__mro__', ())
    loading = next((kind for kind in kinds if 'load_data_list' in vars(kind)), None)
    if getattr(loading, '__name__', None) != 'BaseSegDataset' or not prefix.get('img_path'):
        return sorted(folder.rglob(f'*{suffix}'))  # its pairing of images and maps is unknown
    listed = os.path.join(root, dataset.get('ann_file') or '')
    if os.path.isfile(listed):
        stems = [line.strip() for line in list_from_file(listed)]
    else:
        ending, images = _setting(cfg, dataset, 'img_suffix', '.jpg'), []
        where = os.path.join(root, prefix['img_path'])
        if os.path.isdir(where):  # else reported by the check of files
            images = list_dir_or_file(where, list_dir=False, suffix=ending, recursive=True)
        stems = [image[: -len(ending)] for image in images]
    return sorted({folder / f'{stem}{suffix}' for stem in stems})


def _no_pairs(cfg: Config, dataset: dict) -> str:
    root, prefix = dataset.get('data_root') or '', dataset['data_prefix']
    ending, suffix = _setting(cfg, dataset, 'img_suffix'), _setting(cfg, dataset, 'seg_map_suffix')
    images = os.path.join(root, prefix.get('img_path') or prefix['seg_map_path'])
    return (
        f'no pair of image (*{ending}) and label map (*{suffix}) in {images}; correct '
        'image_suffix (img_suffix) and label_suffix (seg_map_suffix)'
    )


def _setting(cfg: Config, dataset: dict, key: str, fallback: object = None) -> object:
    """A setting of a dataset from its config, else the default of its type."""
    if key in dataset:
        return dataset[key]
    for kind in getattr(dataset_type(cfg, dataset), '__mro__', ()):
        parameter = inspect.signature(kind.__init__).parameters.get(key)
        if parameter is not None:
            return parameter.default
    return fallback


def _set(ids: set[int]) -> str:
    ordered = sorted(ids)
    return '{' + ', '.join(map(str, ordered[:8])) + (', ...}' if len(ordered) > 8 else '}')
