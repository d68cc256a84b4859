# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Panoptic data: do the categories, the segments and the PNGs match?

A pixel's id is R + 256 G + 256**2 B, and 0 is unlabelled
(https://cocodataset.org/#format-data, "4. Panoptic Segmentation").
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from mmengine.config import Config
from PIL import Image

from ..errors import RecipeError
from ..walk import LOADERS, datasets
from .classes import dataset_type, thing_classes
from .coco_file import LONGEST, ids_with_objects, mapped, raw_categories
from .finding import Finding
from .readers import Reader, annotation_readers
from .spelling import short

NAMES, DECODED = 200, 8  # file names looked up, PNGs decoded; our choice
FILE_NAME = re.compile(rb'"file_name"\s*:\s*("[^"]*")')
ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*\[')
BETWEEN = re.compile(r'[\s,]*')


def check_segments(cfg: Config, loaders: tuple) -> Iterator[Finding]:
    """Find panoptic data of ``loaders`` that mmdet would fail on or silently ignore.

    Raises:
        RecipeError: the package that mmdet reads and evaluates panoptic data with is missing.
    """
    if find_spec('panopticapi') is None:
        raise RecipeError(
            'mmdet reads and evaluates panoptic data with panopticapi, which is not installed: '
            'pip install git+https://github.com/cocodataset/panopticapi.git'
        )
    readers = {reader.path: reader for reader in annotation_readers(cfg, loaders)}
    seen = set()  # a test set is often the validation set
    for path, dataset in datasets(cfg, loaders):
        kinds = getattr(dataset_type(cfg, dataset), '__mro__', ())
        if not any(kind.__name__ == 'CocoPanopticDataset' for kind in kinds):
            continue
        segments = (dataset.get('data_prefix') or {}).get('seg')
        reader = readers.get(path)
        if not segments or reader is None:  # a reader's file exists, and is no remote one
            continue  # reported by the check of files
        folder = os.path.join(dataset.get('data_root') or '', segments)
        if (reader.file, folder) not in seen and os.path.isdir(folder):
            seen.add((reader.file, folder))
            evaluated = not path.startswith(LOADERS[0])
            yield from _categories(reader, thing_classes(cfg, dataset), evaluated)
            yield from _names(reader, folder)
            yield from _ids(reader, folder)


def _categories(reader: Reader, things: tuple | None, evaluated: bool) -> Iterator[Finding]:
    """Check that things and stuff match the config, and that every segment has a class."""
    head = f'{reader.path}: {reader.file} '
    is_thing = {entry.get('name'): entry.get('isthing') for entry in raw_categories(reader.file)}
    for name in reader.names:
        if is_thing[name] not in (0, 1):
            yield Finding(f'{head}has no "isthing" of 0 or 1 for its category {name!r}', 'segments')
        elif things is not None and is_thing[name] != (name in things):
            now, key = ('a thing', 'classes') if is_thing[name] else ('stuff', 'stuff_classes')
            yield Finding(
                f'{head}says that {name!r} is {now}; move the name to own_data.{key}, or correct '
                '"isthing" there',
                'segments',
            )
    others = {c.id: c.name for c in reader.categories if c.name not in reader.classes}
    used = sorted(others[i] for i in ids_with_objects(reader.file, set(others)))
    if used:
        yield Finding(
            f'{head}has segments of {short(used)}, which mmdet cannot load because no class has '
            'that name; add it to classes or stuff_classes, or delete these segments',
            'segments',
        )
    annotated = ids_with_objects(reader.file, {c.id for c in reader.taken})
    found = {is_thing[category.name] for category in reader.taken if category.id in annotated}
    for value, what in ((1, 'things'), (0, 'stuff')) if evaluated else ():
        if found and value not in found:
            yield Finding(
                f'{head}has no segment of {what}, so mmdet could not compute its PQ (0/0); '
                'evaluate on images that have some',
                'no_objects',
            )


def _names(reader: Reader, folder: str) -> Iterator[Finding]:
    """Check that each image has a PNG where mmdet looks for it: same name, .png for .jpg."""
    with mapped(reader.file) as text:
        names = {json.loads(match[1]) for match in FILE_NAME.finditer(text)}
    names = sorted({name.replace('.jpg', '.png') for name in names})
    sample = names[:: max(1, len(names) // NAMES)]
    missing = [name for name in sample if not os.path.isfile(os.path.join(folder, name))]
    if missing:
        yield Finding(
            f'{reader.path}: {len(missing)} of {len(sample)} inspected images have no PNG, the '
            f'first is {os.path.join(folder, missing[0])}; PNGs have the name of the image with '
            '.png for .jpg: correct own_data.segments, or add them',
            'segments',
        )


def _ids(reader: Reader, folder: str) -> Iterator[Finding]:
    """Check that the colours of a few PNGs are the ids of their segments."""
    for entry in _first_annotations(reader.file):
        file = os.path.join(folder, str(entry.get('file_name')))
        if not os.path.isfile(file):
            continue
        try:
            with Image.open(file) as image:
                rgb = np.asarray(image.convert('RGB')).astype(np.int64)
        except OSError as error:
            yield Finding(f'{reader.path}: {file} cannot be read ({error})', 'segments')
            return
        in_png = set(np.unique(rgb @ (1, 256, 256**2)).tolist()) - {0}
        listed = {segment.get('id') for segment in entry['segments_info']} - {None}
        if in_png != listed:
            unknown, absent = sorted(in_png - listed), sorted(listed - in_png)
            text = f'has the ids {short(unknown)}, which match no segment' if unknown else ''
            text += ' and ' if unknown and absent else ''
            text += f'has no pixel of the segments {short(absent)}' if absent else ''
            yield Finding(
                f'{reader.path}: {file} {text} of {reader.file}: mmdet would silently leave '
                'these pixels out of training. The id of a pixel is R + 256 G + 65536 B in a PNG '
                'with three channels; rewrite the PNGs or "segments_info"',
                'segments',
            )
            return


def _first_annotations(file: str) -> list[dict]:
    """A few of the annotations, without parsing the file."""
    with mapped(file) as text:
        start = ANNOTATIONS.search(text)
        part = text[start.end() : start.end() + LONGEST].decode('utf-8', 'replace') if start else ''
    found, at = [], 0
    while len(found) < DECODED:
        try:
            entry, at = json.JSONDecoder().raw_decode(part, BETWEEN.match(part, at).end())
            found.append(entry)
        except ValueError:  # the end of the list
            break
    return [entry for entry in found if isinstance(entry, dict) and 'segments_info' in entry]
