# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Masks as run lengths, COCO's RLE: lengths of runs of 0 and 1, down each column, 0 first."""

from __future__ import annotations

import ast

import numpy as np
from pycocotools import mask as rle_api

from ..values import number

SIZES = '"size" of run lengths that is missing or no integers, set'
COUNTS = (
    '"counts" of run lengths as Python writes bytes, or of numbers that are no integers, corrected'
)
SWAPPED = 'run lengths with width and height swapped in "size"'


def packed(value: dict) -> dict:
    """Run lengths in the compressed form that pycocotools computes with."""
    if isinstance(value['counts'], list):
        return rle_api.frPyObjects(value, *value['size'])
    return value


def as_text(rle: dict) -> dict:
    """Compressed run lengths as JSON can hold them."""
    return dict(size=list(rle['size']), counts=rle['counts'].decode())


def with_size(value: dict, width: int, height: int) -> tuple[dict, tuple[str, ...]]:
    """Run lengths with "size" in the order of COCO, and what was mended.

    Args:
        width, height: of the image, in pixels; 0 if unknown.
    """
    size, mended = value.get('size'), ()
    if size is None and width and height:
        return {**value, 'size': [height, width]}, (SIZES,)
    if not isinstance(size, list) or len(size) != 2:
        return value, ()
    numbers = [number(v) for v in size]
    if None in numbers or any(v != int(v) for v in numbers):
        return value, ()
    numbers = [int(v) for v in numbers]
    if [type(v) for v in size] != [int, int]:
        mended = (SIZES,)
    if numbers == [width, height] != [height, width]:
        numbers, mended = [height, width], (*mended, SWAPPED)
    return ({**value, 'size': numbers} if mended else value), mended


def with_counts(value: dict) -> tuple[dict, tuple[str, ...]]:
    """Run lengths with "counts" as text or integers, and what was mended."""
    counts = value.get('counts')
    if isinstance(counts, str) and counts.startswith(("b'", 'b"')):  # compressed ones have no quote
        try:
            return {**value, 'counts': ast.literal_eval(counts).decode('ascii')}, (COUNTS,)
        except (ValueError, SyntaxError):
            return value, ()
    if isinstance(counts, list) and set(map(type, counts)) - {int}:
        numbers = [number(v) for v in counts]
        if None not in numbers and all(v == int(v) for v in numbers):
            return {**value, 'counts': [int(v) for v in numbers]}, (COUNTS,)
    return value, ()


def fault_of(value: dict, width: int, height: int) -> str:
    """Why run lengths cannot be used, '' if they can; pycocotools may crash on what has a fault.

    Args:
        width, height: of the image, in pixels; 0 if unknown.
    """
    size, counts = value.get('size'), value.get('counts')
    whole = isinstance(size, list) and [type(v) for v in size] == [int, int] and min(size) > 0
    if not whole or not counts:
        return 'run lengths without "size" and "counts"'
    if width and size != [height, width]:
        return 'run lengths of another size than the image'
    try:
        runs = _runs(counts)
    except (ValueError, TypeError):
        return 'run lengths that cannot be read'
    if min(runs) < 0 or sum(runs) != size[0] * size[1]:
        return 'run lengths that do not fill their size'
    return '' if any(runs[1::2]) else 'run lengths of an empty mask'


def _runs(counts: str | list) -> list[int]:
    """The lengths of the runs.

    Compressed, a character has 5 bits, and a length from the fourth on is the difference from that
    before the last. pycocotools reads beyond a text that is cut, so it must be checked before.

    Raises:
        ValueError: they cannot be read.
    """
    if isinstance(counts, list):
        if set(map(type, counts)) != {int}:
            raise ValueError(counts)
        return counts
    if not isinstance(counts, str):
        raise TypeError(counts)
    bits = np.frombuffer(counts.encode('ascii'), np.uint8).astype(np.int64) - 48
    if bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        raise ValueError(counts)
    found: list[int] = []
    value = shift = 0
    for five in bits.tolist():
        value |= (five & 31) << shift
        shift += 5
        if not five & 32:
            if five & 16:
                value -= 1 << shift
            found.append(value + found[-2] if len(found) > 2 else value)
            value = shift = 0
    return found
