# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""YOLO: a text for each image, `class x y width height` or `class x y x y ...`, as fractions.

As Ultralytics, Roboflow, CVAT, Label Studio and darknet write it.
https://docs.ultralytics.com/datasets/detect, https://docs.ultralytics.com/datasets/segment
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from ..ledger import Tally
from ..texts import text_of
from ..values import number
from .export import Export, Writer
from .folder import Folder, SourceError, head, lines_of, split_in
from .yolo_pose import found_pose, listed_pose

YAML = ('.yaml', '.yml')
NAMES = ('classes.txt', 'obj.names', '_darknet.labels', 'labels.txt', 'predefined_classes.txt')
LINE = re.compile(r'\s*\d+(\.0*)?([ \t]+[-+.\deE]+){4,}\s')
FRACTION = 1.5  # above it a value is in pixels; labels may leave the image a little; our choice
LABELS = 'label files without an image of their name'
BROKEN = 'lines that are no `class x y width height` or `class x y x y ...`'
FEWER = 'polygons of fewer than three points'
CONFIDENCE = 'lines with a number more, the confidence or track of a prediction, which is left out'
KEYPOINTS = 'lines with keypoints, which are left out'


def looks(folder: Folder) -> str:
    """Why the folder seems to be YOLO's; '' if it does not."""
    found = _yaml(folder)
    if found:
        return f'{folder.below(found)} names classes'
    texts = [file for file in folder.of('.txt') if _is_label(file)]
    if texts:
        return f'{len(texts)} texts such as {folder.below(texts[0])} hold a class and fractions'
    return ''


def read(folder: Folder, classes: Sequence[str] = ()) -> Export:
    """Read all images below the folder, with their labels.

    Raises:
        SourceError: the classes have no names, or the labels are no fractions.
    """
    export = Export()
    table, file = _table(folder)
    names = _names(folder, table) or list(classes)
    texts = {f for f in folder.files if f.suffix.lower() == '.txt' and f.name not in NAMES}
    labels = {f for f in texts if not f.name.lower().startswith('readme')}
    splits = _splits(folder, table, file, export)
    if not names:
        raise SourceError(
            f'{folder.root} has YOLO labels, but no names of the classes: add a data.yaml with '
            '"names: [cat, dog]" or a classes.txt with a name in each line, or give them with '
            '--classes cat dog, in the order of their numbers'
        )
    label_of = {image: _label_of(image, labels) for image in folder.images}
    used = {*label_of.values()} - {None}
    rows = {label: [*_rows(label, folder, export)] for label in sorted(used)}
    pose = listed_pose(table)
    if pose is None:
        pose, note = found_pose([values for lines in rows.values() for _, values in lines])
        export.notes += [note] if note else []
    writer, pixels, ids = Writer(export.ledger), Tally(), Tally()
    for name in names:
        writer.class_id(name)
    if len(writer.names) < len(names):
        export.notes.append(f'classes that are named twice are one: {names[:50]}')
    for image, label in label_of.items():
        if label is None and _is_map(image, folder):
            continue
        size = folder.size(image)
        split = splits.get(os.path.realpath(image)) or split_in(folder.below(image))
        i = writer.image(image, size, split)
        if label is None or size == (0, 0):
            continue
        for where, values in _lines(rows[label], export, pose):
            if not 0 <= values[0] < len(names) or values[0] != int(values[0]):
                ids.add(f'{where}: {values[0]:g}')
                continue
            if max(values[1:]) > FRACTION:
                pixels.add(where)
            box, polygons = _shape(values[1:], *size)
            writer.add(i, names[int(values[0])], box, polygons)
    total = len(writer.objects) + ids.count
    if ids.count:
        raise SourceError(
            f'{ids.count} of {total} lines have a class that is no number from 0 to '
            f'{len(names) - 1} ({ids}), but there are the {len(names)} classes {names[:10]}; '
            'complete the names in the data.yaml'
        )
    if 2 * pixels.count > total:
        raise SourceError(
            f'{pixels.count} of {total} lines hold values above 1 ({pixels}), but YOLO has '
            'fractions of the width and height of the image: divide by them'
        )
    for label in sorted(labels - used):
        if _is_label(label):
            export.ledger.leave_out(LABELS, folder.below(label))
    if not writer.images:
        raise SourceError(f'{folder.root} has {len(labels)} label files, but no images')
    export.parts.append(writer.done())
    return export


def _shape(values: list[float], width: int, height: int) -> tuple[list | None, list | None]:
    if len(values) == 4:
        x, y, w, h = values
        return [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height], None
    return None, [[v * side for v, side in zip(values, (width, height) * (len(values) // 2))]]


def _rows(file: Path, folder: Folder, export: Export) -> Iterator[tuple[str, list[float]]]:
    """The place of each line and its numbers, five at least."""
    text = text_of(file, errors='replace')
    for position, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f'{folder.below(file)}:{position}'
        values = [number(word) for word in line.split()]
        if len(values) < 5 or None in values:
            export.ledger.leave_out(BROKEN, f'{where}: {line.strip()[:40]}')
        else:
            yield where, values


def _lines(
    rows: list[tuple[str, list[float]]], export: Export, pose: int
) -> Iterator[tuple[str, list[float]]]:
    """The place of each line, the class, and four numbers or pairs of them."""
    ledger = export.ledger
    for where, values in rows:
        if pose and len(values) == 5 + pose:
            ledger.note(KEYPOINTS, where)
            values = values[:5]
        if len(values) % 2 == 0:
            ledger.note(CONFIDENCE, where)
            values = values[:-1]
        if len(values) == 5 or len(values) >= 7:
            yield where, values
        else:
            ledger.leave_out(FEWER, where)


def _label_of(image: Path, labels: set[Path]) -> Path | None:
    """Where Ultralytics looks: the last folder `images` becomes `labels`; or beside the image."""
    name = f'{image.stem}.txt'
    parts = image.parts[:-1]
    places = [image.parent, image.parent / 'labels', image.parent.parent / 'labels']
    for position in range(len(parts) - 1, -1, -1):
        if parts[position].lower() in ('images', 'img', 'imgs', 'jpegimages'):
            places.insert(0, Path(*parts[:position], 'labels', *parts[position + 1 :]))
            break
    return next((place / name for place in places if place / name in labels), None)


def _is_map(image: Path, folder: Folder) -> bool:
    """Whether an image lies where labels do, such as masks and pictures of training runs."""
    parts = {part.lower() for part in image.relative_to(folder.root).parts[:-1]}
    return bool({'labels', 'masks', 'runs'} & parts) and 'images' not in parts


def _is_label(file: Path) -> bool:
    text = head(file)
    return file.name not in NAMES and bool(LINE.match(text + '\n'))


def _yaml(folder: Folder) -> Path | None:
    files = [f for f in folder.of(*YAML) if re.search(r'(?m)^\s*["\']?names["\']?\s*:', head(f))]
    return min(files, key=lambda f: len(f.parts), default=None)


class _Loader(yaml.BaseLoader):
    """Reads all as it is written, as YAML would read the names yes, 1.10 and ~ as True, 1.1 and
    None. A key that is there twice is an error, where YAML forgets the first one.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                text = f'{key.value} is there twice; keep one, or give each class its own number'
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _table(folder: Folder) -> tuple[dict, Path | None]:
    file = _yaml(folder)
    if file is None:
        return {}, None
    try:
        table = yaml.load(text_of(file), _Loader)
    except yaml.constructor.ConstructorError as error:
        raise SourceError(f'{file}, line {error.problem_mark.line + 1}: {error.problem}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SourceError(f'{file} is no YAML: {error}') from error
    return (table if isinstance(table, dict) else {}), file


def _names(folder: Folder, table: dict) -> list[str]:
    """The classes by their numbers; [] if nothing names them."""
    names = table.get('names')
    if isinstance(names, dict):
        keys = [number(key) for key in names]
        if sorted(k for k in keys if k is not None) != list(range(len(keys))):
            shown = [key if k is None else k for k, key in zip(keys, names)]
            raise SourceError(
                f'the names of the data.yaml have the numbers {shown[:10]}, not 0 to '
                f'{len(names) - 1}; name every class'
            )
        names = [names[key] for key in sorted(names, key=number)]
    if isinstance(names, list) and names:
        wrong = [i for i, name in enumerate(names) if not isinstance(name, str)]
        if wrong:  # lists of lists of lists could be a text of gigabytes
            raise SourceError(
                f'the classes {wrong[:10]} of the data.yaml have names that are no texts'
            )
        nameless = [i for i, name in enumerate(names) if not name.strip()]
        if nameless:
            raise SourceError(
                f'the data.yaml gives no name to the classes {nameless[:10]}; name every class'
            )
        return names
    for file in sorted(folder.files, key=lambda f: len(f.parts)):
        if file.name in NAMES:
            names = [line.strip() for line in lines_of(file) if line.strip()]
            if names:
                return names
    return []


def _splits(folder: Folder, table: dict, file: Path | None, export: Export) -> dict[str, str]:
    """By the real path of an image its split, as the data.yaml says: folders, or lists of files."""
    found: dict[str, str] = {}
    reals = [os.path.realpath(image) for image in folder.images] if table else []
    for split in ('train', 'val', 'test'):
        given = table.get(split) or (table.get('valid') if split == 'val' else None)
        for name in given if isinstance(given, list) else [given]:
            place = _place(name, table, folder, file) if name and isinstance(name, str) else None
            for real in _members(place, folder, reals) if place else ():
                if found.setdefault(real, split) != split:
                    export.ledger.note(f'images of {split} that are in {found[real]} too', real)
    return found


def _members(place: Path, folder: Folder, reals: list[str]) -> Iterator[str]:
    if place.is_dir():
        inside = os.path.realpath(place) + os.sep
        yield from (real for real in reals if real.startswith(inside))
    elif place.suffix == '.txt':
        lines = text_of(place, errors='replace').split('\n')
        for line in filter(None, map(str.strip, lines)):
            image = folder.find(line, place.parent)
            if image is not None:
                yield os.path.realpath(image)


def _place(name: str, table: dict, folder: Folder, file: Path) -> Path | None:
    """A folder of a data.yaml on this machine; Roboflow writes ../train, meaning train."""
    near = re.sub(r'^(\.\./|\./)+', '', name)
    path = table.get('path')
    given = file.parent / (path if isinstance(path, str) else '')
    tried = [given / name, file.parent / name, file.parent / near, folder.root / near]
    # Path's exists fails for a name that is too long.
    return next((place for place in tried if os.path.exists(place)), None)
