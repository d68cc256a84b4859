# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Where the texts of objects go, so that the image can still be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .picture import text_size

# Our choice, found by looking at pictures of 1 to 200 objects:
MOST = 200  # texts in a picture, those of the first objects
SMALLEST = 10  # height of a text in pixels
PART = 0.25  # height of a text, as a part of the side of a usual object of the picture
OF_PICTURE = 1 / 40  # largest height of a text, as a part of the short side of the picture
COVER = 0.15  # part of another object's box that a text may cover
INSIDE = 0.15  # part of its own box that a text may cover
MARGIN = 4  # pixels that put_texts adds to the width of a text

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


def place_texts(
    boxes: np.ndarray, texts: Sequence[str], shape: tuple[int, int], *, every: bool = False
) -> tuple[list[tuple[int, int, int]], int]:
    """The upper left corners of texts that have room.

    A text has room outside of its box, or inside of a large one, where it covers no other text and
    little of other objects. An object that is smaller than its text gets none.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, the most important first.
        texts: N; empty ones are not written.
        shape: height and width of the picture.
        every: texts without room get the usual place, above the box.

    Returns:
        For each text that is written (index, x, y), and the height of texts in pixels.
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    size = _height_of_texts(boxes, shape)
    taken, placed = np.zeros((0, 4)), []
    for i, text in enumerate(texts if every else texts[:MOST]):
        if not text:
            continue
        wide, high = text_size(text, size)
        wide += MARGIN
        others = np.delete(boxes, i, axis=0)
        place = None
        if wide * high <= _areas(boxes[i : i + 1])[0]:
            free = (
                box
                for box in _places(boxes[i], wide, high, shape)
                if not _shared(box, taken).any()
                and (_shared(box, others) <= COVER * np.maximum(_areas(others), 1)).all()
            )
            place = next(free, None)
        if place is None and every:
            x, y = _within(boxes[i][0], shape[1] - wide), max(0, int(boxes[i][1]) - high)
            place = (x, y, x + wide, y + high)
        if place is not None:
            taken = np.concatenate([taken, [place]])
            placed.append((i, *place[:2]))
    return placed, size


def _height_of_texts(boxes: np.ndarray, shape: tuple[int, int]) -> int:
    """One height for all of a picture."""
    largest = max(SMALLEST, round(min(shape) * OF_PICTURE))
    usual = float(np.median(np.sqrt(_areas(boxes)))) if len(boxes) else 0
    return int(np.clip(round(PART * usual), SMALLEST, largest))


def _places(box: np.ndarray, wide: int, high: int, shape: tuple[int, int]) -> Iterator[Box]:
    """Places beside a box that the picture does not cut, the usual one first."""
    x1, y1, x2, y2 = int(box[0]), int(box[1]), int(np.ceil(box[2])), int(np.ceil(box[3]))
    left, right = (_within(x, shape[1] - wide) for x in (x1, x2 - wide))
    corners = [(left, y1 - high), (right, y1 - high), (left, y2 + 1), (right, y2 + 1)]
    corners += [(x2 + 1, y1), (x1 - wide, y1)]
    if wide <= x2 - x1 and high <= y2 - y1 and wide * high <= INSIDE * (x2 - x1) * (y2 - y1):
        corners.append((x1, y1))
    for x, y in corners:
        if 0 <= x <= shape[1] - wide and 0 <= y <= shape[0] - high:
            yield x, y, x + wide, y + high


def _within(x: float, most: int) -> int:
    return max(0, min(int(x), most))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _shared(box: Box, boxes: np.ndarray) -> np.ndarray:
    """The areas of the intersections."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    return np.prod(np.maximum(high - low, 0), axis=1)
