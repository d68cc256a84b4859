# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""CVAT for images 1.1: one XML with all images. https://docs.cvat.ai/docs/manual/advanced/formats"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from ..values import number
from .export import Export, Shape, Writer, rle_of
from .folder import Folder, SourceError, head, split_in, split_of_file
from .shapes import ellipse, turned_rectangle
from .xml_file import read_xml

BEGINS = re.compile(r'\s*(<\?xml[^>]*\?>\s*)?(<!--.*?-->\s*)?<annotations\b', re.DOTALL)
NO_IMAGE = 'images of the XML that are not in the folder, with their objects'
OTHERS = 'shapes without an area (points, lines, skeletons, tags)'
NO_LABEL = 'shapes without a label'
UNUSABLE = 'shapes whose numbers are missing'
SHAPES = ('box', 'polygon', 'mask', 'ellipse')


def looks(folder: Folder) -> str:
    """Why the folder seems to be CVAT's; '' if it does not."""
    found = [file for file in folder.of('.xml') if BEGINS.match(head(file))]
    return f'{folder.below(found[0])}: <annotations> with <image>' if found else ''


def read(folder: Folder, classes: Sequence[str] = ()) -> Export:
    """Read the XML files, and find the images by name.

    Polygons and masks of one label in one group are one object, as in CVAT's COCO.

    Raises:
        SourceError: a file is of another kind, or there are no images.
    """
    export = Export()
    writer = Writer(export.ledger)
    for file in folder.of('.xml'):
        if not BEGINS.match(head(file)):
            continue
        try:
            root = read_xml(file)
        except SourceError:
            raise
        except ValueError as error:
            raise SourceError(f'{file} cannot be read as XML: {error}') from error
        if root.find('image') is None:
            way = 'export "CVAT for images 1.1", with "Save images", instead'
            what = '"CVAT for video"' if root.find('track') is not None else 'without images'
            raise SourceError(f'{file} is {what}: {way}')
        for label in root.iterfind('meta//labels/label/name'):
            if (label.text or '').strip():
                writer.class_id(label.text)
        for entry in root.iterfind('image'):
            _add_image(writer, entry, folder, file)
    if not writer.images:
        raise SourceError(
            f'none of the images of the XML is in {folder.root} ({export.ledger.causes()}); '
            'export with "Save images", or put them beside the XML'
        )
    export.parts.append(writer.done())
    return export


def _add_image(writer: Writer, entry: Element, folder: Folder, file: Path) -> None:
    name, subset = entry.get('name') or '', entry.get('subset') or ''
    image = folder.find(f'images/{subset}/{name}' if subset else f'images/{name}', file.parent)
    image = image or folder.find(name, file.parent)
    if image is None:
        return writer.ledger.leave_out(NO_IMAGE, name)
    size = [number(entry.get(key)) or 0 for key in ('width', 'height')]
    width, height = (int(v) for v in size) if min(size) > 0 else folder.size(image)
    split = split_in(f'{subset}/') or split_in(name) or split_of_file(folder.below(file))
    i = writer.image(image, (width, height), split)
    groups: dict[tuple, list[Shape]] = {}
    for position, entry_ in enumerate(entry, 1):
        label, where = entry_.get('label') or '', f'{name}:{position}'
        if entry_.tag not in SHAPES:
            writer.ledger.leave_out(OTHERS, f'{where}: {entry_.tag}')
            continue
        if not label.strip():
            writer.ledger.leave_out(NO_LABEL, where)
            continue
        try:
            shape = _shape(entry_, width, height)
        except (TypeError, ValueError):
            writer.ledger.leave_out(UNUSABLE, where)
            continue
        group = int(number(entry_.get('group_id')) or 0) or f'alone {position}'
        groups.setdefault((label, group), []).append(shape)
    writer.add_groups(i, groups)
    return None


def _shape(entry: Element, width: int, height: int) -> Shape:
    if entry.tag == 'mask':
        return Shape(rle=rle_of(_mask(entry, width, height)))
    polygon, is_box = _polygon(entry)
    if not is_box:
        return Shape(polygon=polygon)
    xs, ys = polygon[::2], polygon[1::2]
    return Shape(box=[min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)])


def _polygon(shape: Element) -> tuple[list[float], bool]:
    """Points of a shape, and whether it is a box along the axes.

    Raises:
        TypeError, ValueError: a number is missing, or is none.
    """
    turn = math.radians(float(shape.get('rotation') or 0))
    if shape.tag == 'box':
        x1, y1, x2, y2 = (float(shape.get(key)) for key in ('xtl', 'ytl', 'xbr', 'ybr'))
        centre = (x1 + x2) / 2, (y1 + y2) / 2
        return turned_rectangle(*centre, x2 - x1, y2 - y1, turn), not turn
    if shape.tag == 'ellipse':
        return ellipse(*(float(shape.get(key)) for key in ('cx', 'cy', 'rx', 'ry')), turn), False
    points = [float(v) for pair in _listed(shape, 'points', ';') for v in pair.split(',')]
    if len(points) < 6 or len(points) % 2:
        raise ValueError('a polygon has three points at least')
    return points, False


def _mask(shape: Element, width: int, height: int) -> np.ndarray:
    """A mask (height, width) from run lengths, row by row from the first pixel of its rectangle.

    Raises:
        TypeError, ValueError: a number is missing, or is none, or they do not fill the rectangle.
    """
    left, top, w, h = (int(float(shape.get(key))) for key in ('left', 'top', 'width', 'height'))
    runs = [int(v) for v in _listed(shape, 'rle', ',')]
    values = np.arange(len(runs)) % 2  # the first run is outside
    part = np.repeat(values, runs).reshape(h, w)
    whole = np.zeros((height, width), np.uint8)
    view = whole[top : top + h, left : left + w]
    view[:] = part[: view.shape[0], : view.shape[1]]
    return whole


def _listed(shape: Element, key: str, mark: str) -> list[str]:
    value = shape.get(key)
    if value is None:
        raise ValueError(f'no {key}')
    return value.split(mark)
