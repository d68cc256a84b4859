# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Boxes, polygons and run lengths of COCO: are they sound, and how large are they?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_api

from ..values import number

NUMBERS = {int, float}
# What is wrong with a segmentation; each is a kind of the ledger.
FLAT = 'polygons without the outer list'
NESTED = 'polygons as lists of points'
STRINGS = 'polygons with numbers as strings'
SHORT = 'parts of polygons with under three points, an odd count or no area, beside sound ones'
SWAPPED = 'run lengths with width and height swapped in "size"'


class Shape(NamedTuple):
    """A sound segmentation: its value, its bounds (x1, y1, x2, y2) and what was mended."""

    value: list | dict
    bounds: tuple[float, float, float, float]
    mended: tuple[str, ...] = ()


def read_shape(value: object, width: int, height: int) -> Shape | str:
    """A segmentation in the form that pycocotools reads, or why there is none.

    Args:
        value: of the key "segmentation".
        width, height: of the image, in pixels; 0 if unknown.
    """
    if not value:
        return 'empty segmentations'
    if isinstance(value, dict):
        return _run_lengths(value, width, height)
    if not isinstance(value, list):
        return f'segmentations that are {type(value).__name__}'
    parts, mended = _parts(value)
    sound = [part for part in parts if _is_polygon(part)]
    if not sound:
        return 'polygons without three points and an area' if any(parts) else 'empty segmentations'
    if len(sound) < len(parts):
        mended = (*mended, SHORT)
    whole = sound[0] if len(sound) == 1 else [v for part in sound for v in part]
    xs, ys = whole[::2], whole[1::2]
    # The list itself if nothing was changed.
    same = not mended and len(sound) == len(value)
    return Shape(value if same else sound, (min(xs), min(ys), max(xs), max(ys)), mended)


def area_of(shape: Shape) -> float:
    """The area in pixels; that of a polygon without rounding to whole pixels."""
    if isinstance(shape.value, dict):
        return float(rle_api.area(_compressed(shape.value)))
    return sum(_area(part) for part in shape.value)


def rectangle(box: Sequence[float]) -> list[list[float]]:
    """The polygon of a box (x, y, width, height)."""
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def turned(shape: Shape, turn: Callable, width: int, height: int) -> Shape:
    """A shape of the stored pixels in the image that is turned by its EXIF orientation.

    Args:
        turn: from a point (x, y) to that of the turned image, for arrays too.
        width, height: of the stored image.
    """
    if isinstance(shape.value, list):
        parts = [
            [value for x, y in zip(part[::2], part[1::2]) for value in turn(x, y)]
            for part in shape.value
        ]
        value = parts
    else:
        mask = rle_api.decode(_compressed(shape.value))
        ys, xs = np.nonzero(mask)
        new_xs, new_ys = turn(xs + 0.5, ys + 0.5)
        w, h = (int(round(abs(v))) for v in _extent(turn, width, height))
        out = np.zeros((h, w), np.uint8)
        out[new_ys.astype(int), new_xs.astype(int)] = 1
        value = _as_text(rle_api.encode(np.asfortranarray(out)))
    (x1, y1), (x2, y2) = turn(*shape.bounds[:2]), turn(*shape.bounds[2:])
    bounds = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    return Shape(value, bounds, shape.mended)


def mask_of_box(box: Sequence[float], width: int, height: int) -> dict:
    """Run lengths of a box, for a region to ignore."""
    return _as_text(rle_api.frPyObjects(rectangle(box), height, width)[0])


def _extent(turn: Callable, width: int, height: int) -> tuple[float, float]:
    (x1, y1), (x2, y2) = turn(0, 0), turn(width, height)
    return x2 - x1, y2 - y1


def _parts(value: list) -> tuple[list[list], tuple[str, ...]]:
    """The parts as flat lists of numbers, and what had to be done for it."""
    mended: tuple[str, ...] = ()
    if not isinstance(value[0], (list, tuple, dict)):
        value, mended = [value], (FLAT,)
    elif len(value) >= 3 and all(isinstance(p, (list, tuple)) and len(p) == 2 for p in value):
        value, mended = [[v for point in value for v in point]], (NESTED,)
    parts = []
    for part in value:
        if not isinstance(part, (list, tuple)):
            parts.append([])
            continue
        if part and isinstance(part[0], (list, tuple)):
            part = [v for point in part if isinstance(point, (list, tuple)) for v in point]
            mended += () if NESTED in mended else (NESTED,)
        if not set(map(type, part)) <= NUMBERS:
            part = [number(v) for v in part]
            part = [] if None in part else part
            mended += () if STRINGS in mended or not part else (STRINGS,)
        parts.append(part)
    return parts, mended


def _is_polygon(part: list) -> bool:
    if len(part) < 6 or len(part) % 2 or not math.isfinite(sum(part)):
        return False
    # Three points that are not on one line; mostly the first three already.
    x0, y0 = part[:2]
    x1, y1 = next((p for p in zip(part[2::2], part[3::2]) if p != (x0, y0)), (x0, y0))
    return any(
        (x1 - x0) * (y - y0) != (y1 - y0) * (x - x0) for x, y in zip(part[4::2], part[5::2])
    )


def _area(part: list) -> float:
    xs, ys = part[::2], part[1::2]
    twice = sum(map(float.__mul__, map(float, xs), map(float, ys[1:] + ys[:1])))
    twice -= sum(map(float.__mul__, map(float, ys), map(float, xs[1:] + xs[:1])))
    return abs(twice) / 2


def _run_lengths(value: dict, width: int, height: int) -> Shape | str:
    size, counts = value.get('size'), value.get('counts')
    whole = isinstance(size, (list, tuple)) and len(size) == 2
    if not whole or not all(type(v) is int and v > 0 for v in size) or not counts:
        return 'run lengths without "size" and "counts"'
    mended: tuple[str, ...] = ()
    if width and list(size) != [height, width]:
        if list(size) != [width, height]:
            return 'run lengths of another size than the image'
        value, mended = {**value, 'size': [height, width]}, (SWAPPED,)
    try:
        runs = _counts(counts) if isinstance(counts, str) else counts
        if min(runs) < 0 or sum(runs) != size[0] * size[1]:
            return 'run lengths that do not fill their size'
        packed = _compressed(value)
        x, y, w, h = (float(v) for v in rle_api.toBbox(packed))
        if rle_api.area(packed) == 0:
            return 'run lengths of an empty mask'
    except (ValueError, TypeError, OverflowError):
        return 'run lengths that cannot be read'
    return Shape(value, (x, y, x + w, y + h), mended)


def _compressed(value: dict) -> dict:
    if isinstance(value['counts'], list):
        return rle_api.frPyObjects(value, *value['size'])
    return value


def _as_text(packed: dict) -> dict:
    return dict(size=list(packed['size']), counts=packed['counts'].decode())


def _counts(text: str) -> list[int]:
    """The run lengths of COCO's compressed form: 5 bits a character, differences from the third.

    pycocotools reads beyond a text that is cut, so it must be checked before.
    """
    found: list[int] = []
    value = shift = 0
    for character in text.encode('ascii'):
        bits = character - 48
        if not 0 <= bits < 64:
            raise ValueError(text)
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            if len(found) > 2:
                value += found[-2]
            found.append(value)
            value = shift = 0
    if shift or min(found, default=-1) < 0:
        raise ValueError(text)
    return found
