# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Boxes and polygons of COCO: are they sound, and how large are they?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import mul
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_api

from ..values import key, number
from . import run_lengths

NUMBERS = {int, float}
FAR = 10  # image sides by which pycocotools can still draw a polygon quickly; our choice
THIN = 2.0  # pixels; wider polygons with an area cover a pixel, but for slanted slivers
# What is wrong with a segmentation; each is a kind of the ledger.
FLAT = 'polygons without the outer list'
NESTED = 'polygons as lists of points, made lists of numbers'
STRINGS = 'polygons with numbers as strings'
SHORT = 'parts of polygons with under three points, an odd count or no area, beside sound ones'
LISTED = 'run lengths in a list, made one mask'


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
        return _of_run_lengths(value, width, height)
    if not isinstance(value, list):
        return f'segmentations that are {type(value).__name__}'
    if all(isinstance(part, dict) for part in value) and any('counts' in part for part in value):
        return _of_list(value, width, height)
    parts, mended = _parts(value)
    sound = [part for part in parts if _is_polygon(part)]
    if not sound:
        if any(parts):
            return 'polygons without three points and an area'
        return 'polygons that are no lists of numbers' if any(value) else 'empty segmentations'
    if len(sound) < len(parts):
        mended = (*mended, SHORT)
    whole = sound[0] if len(sound) == 1 else [v for part in sound for v in part]
    xs, ys = whole[::2], whole[1::2]
    bounds = x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
    # The list itself if nothing was changed.
    shape = Shape(value if not mended and len(sound) == len(value) else sound, bounds, mended)
    if max(x2, y2) <= 1:
        return 'polygons that are at most one pixel large, as if they were fractions of the image'
    if width and height:
        if max(-x1, x2, -y1, y2) > FAR * max(width, height):
            return 'polygons far outside the image'
        if min(x2 - x1, y2 - y1) < THIN and not rle_api.area(_drawn(shape, width, height)):
            return 'polygons that cover no pixel'
    return shape


def area_of(shape: Shape) -> float:
    """The area in pixels; that of a polygon without rounding to whole pixels."""
    if isinstance(shape.value, dict):
        return float(rle_api.area(run_lengths.packed(shape.value)))
    return sum(_area(part) for part in shape.value)


def box_of(shape: Shape) -> list[float]:
    """The box (x, y, width, height) around a shape."""
    x1, y1, x2, y2 = shape.bounds
    return [x1, y1, x2 - x1, y2 - y1]


def rectangle(box: Sequence[float]) -> list[list[float]]:
    """The polygon of a box (x, y, width, height)."""
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def four_numbers(value: object) -> list | None:
    """A box of four numbers, from strings too; the list itself if it holds them."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if set(map(type, value)) == {float} and math.isfinite(sum(value)):
        return value  # the usual case, in a third of the time
    box = [number(v) for v in value]
    if None in box:
        return None
    return value if set(map(type, value)) <= NUMBERS else box


def mask_of_box(box: Sequence[float], width: int, height: int) -> dict:
    """Run lengths of a box, for a region to ignore."""
    return run_lengths.as_text(rle_api.frPyObjects(rectangle(box), height, width)[0])


def turned(shape: Shape, turn: Callable, width: int, height: int) -> Shape:
    """A shape of the stored pixels in the image that is turned by its EXIF orientation.

    Args:
        turn: from a point (x, y) to that of the turned image, for arrays too.
        width, height: of the stored image.
    """
    if isinstance(shape.value, list):
        value: list | dict = [
            [v for x, y in zip(part[::2], part[1::2]) for v in turn(x, y)] for part in shape.value
        ]
    else:
        ys, xs = np.nonzero(rle_api.decode(run_lengths.packed(shape.value)))
        new_xs, new_ys = turn(xs + 0.5, ys + 0.5)
        (x1, y1), (x2, y2) = turn(0, 0), turn(width, height)
        out = np.zeros((abs(y2 - y1), abs(x2 - x1)), np.uint8)
        out[new_ys.astype(int), new_xs.astype(int)] = 1
        value = run_lengths.as_text(rle_api.encode(np.asfortranarray(out)))
    x, y, w, h = turned_box(box_of(shape), turn)
    return Shape(value, (x, y, x + w, y + h), shape.mended)


def turned_box(box: Sequence[float], turn: Callable) -> list[float]:
    """A box of the stored pixels in the turned image; see :func:`turned`."""
    (x1, y1), (x2, y2) = turn(box[0], box[1]), turn(box[0] + box[2], box[1] + box[3])
    return [min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1)]


def reaches(entries: list) -> dict[int | str, tuple[float, float]]:
    """By the key of an image, how far right and down its boxes and polygons reach."""
    found: dict[int | str, tuple[float, float]] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        box, value = four_numbers(entry.get('bbox')), entry.get('segmentation')
        shape = read_shape(value, 0, 0) if isinstance(value, list) else None
        if isinstance(shape, Shape) and isinstance(shape.value, list):
            x, y = shape.bounds[2:]
        elif box:
            x, y = box[0] + box[2], box[1] + box[3]
        else:
            continue
        k = key(entry.get('image_id'))
        if k is not None:
            far = found.get(k, (0, 0))
            found[k] = (max(far[0], x), max(far[1], y))
    return found


def _parts(value: list) -> tuple[list[list], tuple[str, ...]]:
    """The parts as flat lists of numbers, and what had to be done for it."""
    mended: tuple[str, ...] = ()
    first = value[0][0] if isinstance(value[0], list) and value[0] else value[0]
    if isinstance(first, dict):
        value = _as_lists(value)
    if not isinstance(value[0], (list, dict)):
        value, mended = [value], (FLAT,)
    elif len(value) >= 3 and all(isinstance(p, list) and len(p) == 2 for p in value):
        value, mended = [[v for point in value for v in point]], (NESTED,)
    parts = []
    for part in value:
        if not isinstance(part, list):
            parts.append([])
            continue
        if part and isinstance(part[0], list):
            pairs = all(isinstance(point, list) and len(point) == 2 for point in part)
            part = [v for point in part for v in point] if pairs else []
            mended += () if NESTED in mended or not part else (NESTED,)
        if not set(map(type, part)) <= NUMBERS:
            part = [number(v) for v in part]
            part = [] if None in part else part
            mended += () if STRINGS in mended or not part else (STRINGS,)
        parts.append(part)
    return parts, mended


def _as_lists(value: object) -> object:
    """Points as lists, also those that are dicts {'x': 1, 'y': 2}."""
    if isinstance(value, list):
        return [_as_lists(part) for part in value]
    if isinstance(value, dict) and {'x', 'y'} <= set(value):
        return [value['x'], value['y']]
    return value


def _is_polygon(part: list) -> bool:
    if len(part) < 6 or len(part) % 2:
        return False
    try:
        if not math.isfinite(sum(part)):
            return False
    except OverflowError:  # an int beyond all floats
        return False
    # Three points that are not on one line; mostly the first three already.
    x0, y0 = part[:2]
    x1, y1 = next((p for p in zip(part[2::2], part[3::2]) if p != (x0, y0)), (x0, y0))
    return any((x1 - x0) * (y - y0) != (y1 - y0) * (x - x0) for x, y in zip(part[4::2], part[5::2]))


def _area(part: list) -> float:
    xs, ys = part[::2], part[1::2]
    twice = sum(map(mul, xs, ys[1:] + ys[:1])) - sum(map(mul, ys, xs[1:] + xs[:1]))
    return abs(twice) / 2


def _drawn(shape: Shape, width: int, height: int) -> dict:
    return rle_api.merge(rle_api.frPyObjects(shape.value, height, width))


def _of_run_lengths(value: dict, width: int, height: int) -> Shape | str:
    value, of_counts = run_lengths.with_counts(value)
    value, of_size = run_lengths.with_size(value, width, height)
    fault = run_lengths.fault_of(value, width, height)
    if fault:
        return fault
    x, y, w, h = (float(v) for v in rle_api.toBbox(run_lengths.packed(value)))
    return Shape(value, (x, y, x + w, y + h), (*of_counts, *of_size))


def _of_list(value: list[dict], width: int, height: int) -> Shape | str:
    """A list of run lengths; COCO wants a single mask."""
    shapes = [_of_run_lengths(part, width, height) for part in value]
    sound = [shape for shape in shapes if isinstance(shape, Shape)]
    if len(sound) < len(shapes):
        return next(shape for shape in shapes if isinstance(shape, str))
    if len({tuple(shape.value['size']) for shape in sound}) > 1:
        return 'run lengths of different sizes'
    x1s, y1s, x2s, y2s = zip(*(shape.bounds for shape in sound))
    packed = rle_api.merge([run_lengths.packed(shape.value) for shape in sound])
    bounds = min(x1s), min(y1s), max(x2s), max(y2s)
    mended = dict.fromkeys(kind for shape in sound for kind in shape.mended)
    return Shape(run_lengths.as_text(packed), bounds, (LISTED, *mended))
