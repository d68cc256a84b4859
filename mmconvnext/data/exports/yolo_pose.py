# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Keypoints in YOLO's labels: `class x y width height`, then x y, or x y visible, of each point.

Without ``kpt_shape`` in the data.yaml, such a line looks like a polygon.
https://docs.ultralytics.com/datasets/pose
"""

from __future__ import annotations

from collections.abc import Sequence

from ..values import number
from .folder import SourceError

# Our choices: how far a point may lie outside of its box, as a fraction of the image, or a box
# outside of the image; and the share of lines that must look like boxes with their points.
NEAR, SHARE = 0.02, 0.9
VISIBLE = {0, 1, 2}  # not labelled, hidden, visible: https://cocodataset.org/#format-data


def listed_pose(table: dict) -> int | None:
    """How many numbers follow the box, by the ``kpt_shape`` of a data.yaml; None without one.

    Raises:
        SourceError: it is no pair of numbers.
    """
    shape = table.get('kpt_shape')
    if shape in (None, ''):
        return None
    values = [number(value) for value in shape] if isinstance(shape, list) else []
    if len(values) == 2 and all(type(v) is int and v >= 0 for v in values) and values[1] in (2, 3):
        return values[0] * values[1]
    raise SourceError(
        f'the data.yaml has kpt_shape: {shape}; write [17, 3] for 17 points of x, y and '
        'visibility, [17, 2] without visibility, [0, 2] without points'
    )


def found_pose(rows: Sequence[list[float]]) -> tuple[int, str]:
    """The same by the lines themselves, 0 without keypoints; and a note on it, or ''.

    A line of a box and points has as many numbers as all others, and its points lie in its box,
    which lies in the image. Polygons only do so by chance. If each third number is a visibility
    too, it is sure.

    Args:
        rows: the numbers of each line: the class, then four at least.

    Raises:
        SourceError: they may be either.
    """
    counts = {len(row) for row in rows}
    rest = counts.pop() - 5 if len(counts) == 1 else 0
    shapes = []
    for size in (3, 2):
        if rest <= 0 or rest % size:
            continue
        fits = sum(_fits(row, size) for row in rows) >= SHARE * len(rows)
        marked = size == 3 and all({*row[7::3]} <= VISIBLE for row in rows)
        if fits and marked:
            return rest, (
                f'all {len(rows)} lines hold a box and {rest // 3} keypoints, which are left out; '
                f'the data.yaml lacks kpt_shape: [{rest // 3}, 3]'
            )
        if fits or marked:
            shapes.append(f'kpt_shape: [{rest // size}, {size}]')
    if shapes:
        raise SourceError(
            f'all {len(rows)} lines hold {rest + 5} numbers, which may be a class, a box and its '
            f'keypoints, or a class and a polygon: write {" or ".join(shapes)} into the data.yaml '
            'for keypoints, kpt_shape: [0, 2] for polygons'
        )
    return 0, ''


def _fits(row: list[float], size: int) -> bool:
    """Whether a line holds a box in the image, with its points inside."""
    x, y, w, h = row[1:5]
    left, top, right, low = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if min(w, h) <= 0 or min(left, top) < -NEAR or max(right, low) > 1 + NEAR:
        return False
    return all(
        left - NEAR <= px <= right + NEAR and top - NEAR <= py <= low + NEAR
        for px, py in zip(row[5::size], row[6::size])
        if (px, py) != (0, 0)  # not labelled
    )
