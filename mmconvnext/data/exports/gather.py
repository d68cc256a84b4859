# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Brings what was read into one list of images with sound objects, or with label maps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..coco.geometry import read_shape
from ..coco.sound import NOTHING, sound_content
from ..coco.wanted import Wanted
from ..images import read_headers
from ..label_maps import read_label_maps
from ..ledger import Ledger, Tally
from .export import Export, Maps, Objects
from .folder import SourceError

IMAGE_FILES = 'image_files'  # the refusal of images that are missing or cannot be read
PASSED = (IMAGE_FILES, NOTHING)  # judged here, for all files together
MOST_LOST = 0.5  # share of images from which on the folder is the wrong one; our choice
PLAIN = {'images', 'image', 'img', 'imgs', 'jpegimages', 'default'}  # names of folders; ours
OTHER_CLASSES = 'objects of classes that --classes does not name'
SIZE = 'label maps of another size than their image'
TURNED_BACK = (5, 6, 7, 8)  # orientations of EXIF that swap width and height
NO_SHAPE = 'masks that cannot be read, so that only the box is kept'
LOST_MAP = 'images that cannot be read, with their label maps'


@dataclass
class Item:
    """An image with its objects, or its label map.

    Attributes:
        name: its path below the folder that holds all images; unique.
        objects: entries of COCO's "annotations", with a ``class`` instead of ids.
        label_map: the file.
    """

    file: Path
    name: str
    width: int
    height: int
    split: str = ''
    objects: list[dict] = field(default_factory=list)
    label_map: Path | None = None


@dataclass
class Data:
    """All images, the names of the classes in the order of the labels, and what was noticed."""

    items: list[Item]
    classes: list[str]
    ledger: Ledger
    notes: list[str]
    maps: Maps | None = None


def gather(export: Export, classes: Sequence[str] = (), **options: bool) -> Data:
    """Check everything by the rules for COCO files.

    Args:
        classes: the names to take, in this order; () for all.
        options: ``apply_exif`` and ``crowd_as_object`` of :class:`..coco.wanted.Wanted`.

    Raises:
        SourceError: the data would be learnt wrongly, or nothing is left of them.
    """
    if export.maps:
        return _of_maps(export)
    names, items, listed = _class_names(export, classes), [], 0
    if not names and not any(part.content['annotations'] for part in export.parts):
        count = sum(len(part.content['images']) for part in export.parts)
        raise SourceError(_no_object(count, export))
    for part in export.parts:
        listed += len(part.content['images'])
        items += _sound(part, names, export, options)
    _name(items)
    lost = listed - len(items)
    if lost > MOST_LOST * listed or not items:
        raise SourceError(
            f'{lost} of {listed} images are missing or cannot be read: {export.ledger.causes()}'
        )
    if not any(item.objects for item in items):
        raise SourceError(_no_object(len(items), export))
    return Data(items, names, export.ledger, export.notes)


def _no_object(images: int, export: Export) -> str:
    causes = export.ledger.causes() or 'the labels list none'
    return f'no object is left on {images} images: {causes}'


def _class_names(export: Export, classes: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for part in export.parts:
        listed = [c for c in part.content['categories'] if isinstance(c, dict)]
        for category in listed:
            if not _is_project(category, listed, part.content['annotations']):
                found.setdefault(str(category.get('name')).strip())
            else:
                export.notes.append(
                    f'the category {category.get("name")!r} is left out: it has no objects, and is '
                    "the others' supercategory, as the name of a project of Roboflow"
                )
    unknown = [name for name in classes if name not in found]
    if unknown:
        raise SourceError(f'--classes: {unknown} are not among the classes {list(found)[:50]}')
    return list(dict.fromkeys(classes)) or list(found)


def _is_project(category: dict, listed: list[dict], objects: list) -> bool:
    """Whether a category stands for the whole project, above all others."""
    others = [c for c in listed if c is not category]
    return (
        category.get('id') == 0
        and bool(others)
        and all(c.get('supercategory') == category.get('name') for c in others)
        and not any(isinstance(o, dict) and o.get('category_id') == 0 for o in objects)
    )


def _sound(part: Objects, names: list[str], export: Export, options: dict) -> Iterator[Item]:
    wanted = Wanted(
        folder=part.folder,
        classes=tuple(names),
        learnt=True,
        measured=True,
        passed=PASSED,
        **options,
    )
    before = {str(e.get('id')): s for e, s in _splits(part)}
    sound = sound_content(part.content, wanted, export.ledger)
    faults = [r.text for r in export.ledger.refused if r.check not in PASSED]
    if faults:
        text = f'{part.source}: ' * bool(part.source) + '; '.join(dict.fromkeys(faults))
        for name in options:
            text = text.replace(f'own_data.{name}=True', f'--{name.replace("_", "-")}')
        raise SourceError(text)
    named = {category['id']: category['name'] for category in sound.content['categories']}
    sizes = {entry['id']: (entry['width'], entry['height']) for entry in sound.content['images']}
    by_image: dict[int, list[dict]] = {}
    for entry in sound.content['annotations']:
        name = named[entry['category_id']]
        if name in names:
            entry = _with_sound_mask(entry, *sizes[entry['image_id']], export)
            by_image.setdefault(entry['image_id'], []).append({**entry, 'class': name})
        else:
            export.ledger.leave_out(OTHER_CLASSES, f'{name}: {entry["id"]}')
    for entry in sound.content['images']:
        file = Path(part.folder, entry['file_name'])
        split = before.get(str(entry['id']), '') or before.get(entry['file_name'], '')
        yield Item(file, '', entry['width'], entry['height'], split, by_image.get(entry['id'], []))


def _with_sound_mask(entry: dict, width: int, height: int, export: Export) -> dict:
    """An object whose mask others can read: pycocotools crashes on some that are broken."""
    if not entry.get('segmentation'):
        return entry
    shape = read_shape(entry['segmentation'], width, height)
    if isinstance(shape, str):
        export.ledger.leave_out(NO_SHAPE, f'{entry["id"]}: {shape}')
        return {key: value for key, value in entry.items() if key != 'segmentation'}
    for kind in shape.mended:
        export.ledger.mend(kind, entry['id'])
    return {**entry, 'segmentation': shape.value}


def _splits(part: Objects) -> Iterator[tuple[dict, str]]:
    for entry in part.content['images']:
        if isinstance(entry, dict) and not isinstance(entry.get('id'), (list, dict)):
            yield entry, part.splits.get(entry.get('id'), '')


def _of_maps(export: Export) -> Data:
    maps, items = export.maps, []
    headers = read_headers(image for image, _, _ in maps.pairs)
    contents = read_label_maps([label for _, label, _ in maps.pairs])
    for image, label, split in maps.pairs:
        header, content = headers[image], contents[label]
        if header.error:
            export.ledger.leave_out(LOST_MAP, f'{image}: {header.error}')
            continue
        width, height = header.loaded
        turned = header.orientation in TURNED_BACK and (content.height, content.width)
        if (width, height) not in ((content.width, content.height), turned):
            where = f'{image.name}: {content.width} x {content.height}, not {width} x {height}'
            export.ledger.leave_out(SIZE, where)
            continue
        items.append(Item(image, '', width, height, split, label_map=label))
    if len(items) < MOST_LOST * len(maps.pairs) or not items:
        raise SourceError(
            f'{len(maps.pairs) - len(items)} of {len(maps.pairs)} images cannot be used: '
            f'{export.ledger.causes()}'
        )
    _name(items)
    return Data(items, list(maps.classes), export.ledger, export.notes, maps)


def _name(items: list[Item]) -> None:
    """Name each image by its path below the folder that all have in common.

    Folders that only say that they hold images are left out where the names stay unique.
    """
    if not items:
        return
    # As they are listed, with ../, they would be written outside the folder of the output.
    files = [Path(os.path.abspath(item.file)) for item in items]
    root = os.path.commonpath([file.parent for file in files])
    whole = [file.relative_to(root) for file in files]
    short = [Path(*(p for p in f.parts[:-1] if p.lower() not in PLAIN), f.name) for f in whole]
    names = short if len({*short}) == len({*whole}) else whole
    twice: dict[str, Tally] = {}
    for item, name in zip(items, names):
        item.name = name.as_posix()
        twice.setdefault(item.name, Tally()).add(item.file)
    doubled = [name for name, tally in twice.items() if tally.count > 1]
    if doubled:
        raise SourceError(
            f'{len(doubled)} images are listed more than once, in several files or splits, such as '
            f'{doubled[0]}: list each once, or give one of the files alone'
        )
