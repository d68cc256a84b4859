# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pascal VOC: an XML for each image, in a folder of their own or beside the images.

As the VOC devkit, CVAT, Label Studio, Roboflow, LabelImg and roLabelImg write it.
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from ..values import number
from .export import Export, Writer, leave_unlabelled
from .folder import Folder, SourceError, head, split_in
from .shapes import turned_rectangle
from .xml_file import read_xml

BEGINS = re.compile(r'\s*(<[?!].*?)?<annotation[\s>]', re.DOTALL)
NO_IMAGE = 'files without an image of their name'
BROKEN = 'files that are no XML'
NO_BOX = 'objects without a box of four numbers and without a polygon'
DELETED = 'objects marked as deleted'
DIFFICULT = 'objects marked "difficult", made regions to ignore, as in the evaluation of VOC'
NO_NAME = 'objects without a name'
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def looks(folder: Folder) -> str:
    """Why the folder seems to hold VOC's files; '' if it does not."""
    found = [file for file in folder.of('.xml') if BEGINS.match(head(file))]
    return f'{len(found)} files such as {folder.below(found[0])}: <annotation>' if found else ''


def read(folder: Folder, classes: Sequence[str] = ()) -> Export:
    """Read all XML files of images below the folder.

    The corners of a box are pixels counted from 1, as in the devkit: (11, 11, 20, 20) is 10 pixels
    wide. If one of them all is 0 or no integer, they are points instead, as CVAT writes.

    Raises:
        SourceError: none of the files has an image.
    """
    export, rows = Export(), []
    files = [file for file in folder.of('.xml') if BEGINS.match(head(file))]
    for file in files:
        try:
            root = read_xml(file)
        except SourceError:
            raise
        except ValueError as error:
            export.ledger.leave_out(BROKEN, f'{folder.below(file)}: {error}')
            continue
        image = _image_of(file, root, folder)
        if image is None:
            export.ledger.leave_out(NO_IMAGE, folder.below(file))
        else:
            rows.append((file, root, image))
    if not rows:
        causes = export.ledger.causes()
        raise SourceError(f'none of the {len(files)} files in {folder.root} can be used: {causes}')
    corners = [value for _, root, _ in rows for value in _corners(root)]
    points = not corners or any(map(_is_point, corners))  # LabelMe's old files have polygons only
    export.notes.append(
        'boxes are points from 0, because some corners are 0 or no integers'
        if points
        else 'boxes are pixels counted from 1, as in the VOC devkit'
    )
    writer, sets = Writer(export.ledger), folder.image_sets
    for file, root, image in rows:
        split = sets.get(image.stem) or split_in(folder.below(image))
        i = writer.image(image, listed_size(root) or folder.size(image), split)
        for position, entry in enumerate(root.iter('object'), 1):
            _add(writer, i, entry, f'{folder.below(file)}:{position}', 0 if points else 1)
    leave_unlabelled(folder, writer)
    export.parts.append(writer.done())
    return export


def _add(writer: Writer, image: int, entry: Element, where: str, first: int) -> None:
    """Add an object; ``first`` is the number of the first pixel."""
    ledger, name = writer.ledger, (entry.findtext('name') or '').strip()
    if (entry.findtext('deleted') or '').strip() == '1':
        return ledger.leave_out(DELETED, where)
    if not name:
        return ledger.leave_out(NO_NAME, where)
    crowd = (entry.findtext('difficult') or '').strip() in ('1', 'true', 'True')
    if crowd:
        ledger.note(DIFFICULT, where)
    polygons = [[v - first for v in points] for points in map(_points, entry.findall('polygon'))]
    polygons = [points for points in polygons if len(points) >= 6]
    box = _box(entry, first)
    rotated = [number(entry.findtext(f'robndbox/{key}')) for key in ('cx', 'cy', 'w', 'h', 'angle')]
    if box is None and not polygons and None not in rotated:
        polygons = [turned_rectangle(*rotated)]
    if box is None and not polygons:
        return ledger.leave_out(NO_BOX, where)
    return writer.add(image, name, box, polygons, crowd=crowd)


def _box(entry: Element, first: int) -> list[float] | None:
    corners = [number(entry.findtext(f'bndbox/{key}')) for key in CORNERS]
    if None in corners:
        return None
    x1, y1, x2, y2 = corners
    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    return [x1 - first, y1 - first, x2 - x1 + first, y2 - y1 + first]


def _points(polygon: Element) -> list[float]:
    """x, y, x, y, ... of <pt><x/><y/></pt>, or of <x1/><y1/>; [] if one is no number."""
    values = [number((e.text or '').strip()) for e in polygon.iter() if e.tag[:1] in ('x', 'y')]
    return [] if None in values or len(values) % 2 else values


def _corners(root: Element) -> Iterator[float]:
    for entry in root.iter('object'):
        values = (number(entry.findtext(f'bndbox/{key}')) for key in CORNERS)
        yield from (value for value in values if value is not None)


def _is_point(value: float) -> bool:
    """Whether it is no pixel counted from 1."""
    return value != int(value) or value == 0


def listed_size(root: Element) -> tuple[int, int] | None:
    """(width, height) that the file states for its image; None if it does not."""
    size = [number(root.findtext(f'size/{key}')) for key in ('width', 'height')]
    return (int(size[0]), int(size[1])) if None not in size and min(size) > 0 else None


def _image_of(file: Path, root: Element, folder: Folder) -> Path | None:
    """By the name in the file, beside it or in JPEGImages; else by the stem of the file."""
    name = (root.findtext('filename') or '').strip()
    found = folder.find(name, file.parent) if name else None
    if found is not None and Path(name).stem == file.stem:
        return found
    twin = folder.of_stem(file.stem, file.parent)
    return twin if twin is not None else found
