# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""LabelMe: a JSON for each image, with shapes. https://github.com/wkentaro/labelme"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image

from ..texts import text_of
from ..values import number
from .export import Export, Shape, Writer, leave_unlabelled, rle_of
from .folder import Folder, SourceError, head, split_in
from .shapes import ellipse

NO_IMAGE = 'files without their image'
BROKEN = 'files that are no JSON of LabelMe'
OTHERS = 'shapes without an area (points and lines)'
UNUSABLE = 'shapes whose points are missing or no numbers'
NO_LABEL = 'shapes without a label'
EMBEDDED = 'images that are only in their JSON (imageData), written as files'
TURNED = 'rotation'  # X-AnyLabeling's rectangle with four corners
IGNORED = '__ignore__'  # LabelMe's own examples give this label to regions of no class


def looks(folder: Folder) -> str:
    """Why the folder seems to hold LabelMe's files; '' if it does not."""
    found = _files(folder)
    return (
        f'{len(found)} files such as {folder.below(found[0])}: JSON with "shapes"' if found else ''
    )


def _files(folder: Folder) -> list[Path]:
    # A file may begin with megabytes of "imageData", but "version" or "flags" come first.
    marks = r'\s*\{(.*"shapes"\s*:|\s*"(version|flags|imageData|imagePath)"\s*:)'
    return [f for f in folder.of('.json') if re.match(marks, head(f), re.DOTALL)]


def read(folder: Folder, classes: Sequence[str] = ()) -> Export:
    """Read all JSON files of images below the folder.

    Polygons and masks of one label and one "group_id" are one object.

    Raises:
        SourceError: none of the files can be used.
    """
    export, files = Export(), _files(folder)
    writer = Writer(export.ledger)
    for file in files:
        content = _content(file)
        if content is None:
            export.ledger.leave_out(BROKEN, folder.below(file))
            continue
        image = _image_of(file, content, folder, export)
        if image is None:
            export.ledger.leave_out(NO_IMAGE, folder.below(file))
            continue
        size = [number(content.get(key)) or 0 for key in ('imageWidth', 'imageHeight')]
        size = size if min(size) > 0 else folder.size(image)
        i = writer.image(image, (int(size[0]), int(size[1])), split_in(folder.below(image)))
        _add_all(writer, i, content['shapes'], (int(size[0]), int(size[1])), folder.below(file))
    if not writer.images:
        causes = export.ledger.causes()
        raise SourceError(f'none of the {len(files)} files in {folder.root} can be used: {causes}')
    leave_unlabelled(folder, writer)
    export.parts.append(writer.done())
    return export


def _content(file: Path) -> dict | None:
    try:
        content = json.loads(text_of(file))
    except (ValueError, RecursionError):
        return None
    shapes = isinstance(content, dict) and isinstance(content.get('shapes'), list)
    return content if shapes else None


def _image_of(file: Path, content: dict, folder: Folder, export: Export) -> Path | None:
    """The image that "imagePath" names, or that has the name of the file, or the embedded one."""
    name = str(content.get('imagePath') or '')
    found = folder.find(name, file.parent) if name else None
    twin = folder.of_stem(file.stem, file.parent)
    if found is None or (twin is not None and twin.parent == file.parent != found.parent):
        found = twin
    if found is None and isinstance(content.get('imageData'), str):
        suffix = PureWindowsPath(name).suffix or '.png'
        found = file.with_suffix(suffix)
        try:
            export.embedded[found] = base64.b64decode(content['imageData'], validate=True)
        except ValueError:
            return None
        export.ledger.note(EMBEDDED, folder.below(file))
    return found


def _add_all(writer: Writer, image: int, shapes: list, size: tuple[int, int], where: str) -> None:
    groups: dict[tuple, list[Shape]] = {}
    for position, entry in enumerate(shapes, 1):
        entry, place = entry if isinstance(entry, dict) else {}, f'{where}:{position}'
        label = entry.get('label')
        if label is None or str(label).strip() in ('', IGNORED):
            writer.ledger.leave_out(NO_LABEL, place)
            continue
        # Absent in files of version 2 and 3; tools that write this form spell it as they like.
        kind = str(entry.get('shape_type') or 'polygon').strip().lower()
        kind = 'polygon' if kind == TURNED else kind
        if kind not in ('polygon', 'rectangle', 'circle', 'mask'):
            writer.ledger.leave_out(OTHERS, f'{place}: {kind}')
            continue
        points = _points(entry.get('points'))
        enough = len(points) >= (6 if kind == 'polygon' else 4)
        shape = _shape(kind, points, entry, size) if enough else None
        if shape is None:
            writer.ledger.leave_out(UNUSABLE, place)
            continue
        group = entry.get('group_id')
        group = f'alone {position}' if group is None else str(group)
        groups.setdefault((str(label), group), []).append(shape)
    writer.add_groups(image, groups)


def _points(value: object) -> list[float]:
    """x, y, x, y, ...; [] if one is no number."""
    rows = value if isinstance(value, list) else []
    pairs = [row for row in rows if isinstance(row, list) and len(row) == 2]
    found = [number(v) for row in pairs for v in row]
    return found if len(pairs) == len(rows) and None not in found else []


def _shape(kind: str, points: list[float], entry: dict, size: tuple[int, int]) -> Shape | None:
    x1, y1, x2, y2 = points[0], points[1], points[-2], points[-1]
    if kind == 'polygon':
        return Shape(polygon=points)
    if kind == 'circle':  # its centre, and a point on it
        radius = math.hypot(x2 - x1, y2 - y1)
        return Shape(polygon=ellipse(x1, y1, radius, radius))
    if kind == 'mask':
        mask = _mask(entry, points, size)
        return None if mask is None else Shape(rle=rle_of(mask))
    xs, ys = points[::2], points[1::2]  # two corners, or four in LabelMe 5.5
    return Shape(box=[min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)])


def _mask(entry: dict, points: list[float], size: tuple[int, int]) -> np.ndarray | None:
    """From a PNG in base64, at the left upper of two points; None if it is empty or broken."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(entry.get('mask') or ''))) as png:
            part = np.asarray(png.convert('L')) > 0
    except (OSError, ValueError, TypeError):
        return None
    width, height = size
    x, y = max(0, round(points[0])), max(0, round(points[1]))
    whole = np.zeros((height, width), bool)
    view = whole[y : y + part.shape[0], x : x + part.shape[1]]
    view[:] = part[: view.shape[0], : view.shape[1]]
    return whole if whole.any() else None
