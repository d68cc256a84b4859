# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Masks of objects without the empty rest of their image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Patch(NamedTuple):
    """The part of a mask that is not empty, and where it is in its image."""

    x: int  # of its left column
    y: int  # of its upper row
    mask: np.ndarray  # (h, w) bool; (0, 0) if the whole mask is empty

    @classmethod
    def cut(cls, mask: np.ndarray) -> Patch:
        """Of a mask (H, W) of the whole image."""
        rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
        if not len(rows):
            return cls(0, 0, np.zeros((0, 0), bool))
        x, y = int(columns[0]), int(rows[0])
        return cls(x, y, mask[y : rows[-1] + 1, x : columns[-1] + 1].astype(bool))

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the patch; x2 and y2 are behind its last column and row."""
        height, width = self.mask.shape
        return self.x, self.y, self.x + width, self.y + height

    def moved(self, x: int, y: int) -> Patch:
        """The patch, so many pixels further to the right and below."""
        return self._replace(x=self.x + x, y=self.y + y)

    def within(self, x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
        """The mask (y2 - y1, x2 - x1) in a rectangle of the image."""
        found = np.zeros((max(0, y2 - y1), max(0, x2 - x1)), bool)
        left, top, right, bottom = self.corners
        left, top = max(left, x1), max(top, y1)
        right, bottom = min(right, x2), min(bottom, y2)
        if left < right and top < bottom:
            part = self.mask[top - self.y : bottom - self.y, left - self.x : right - self.x]
            found[top - y1 : bottom - y1, left - x1 : right - x1] = part
        return found

    def joined(self, other: Patch) -> Patch:
        """The pixels of either."""
        if not other.mask.size:
            return self
        if not self.mask.size:
            return other
        ours, theirs = self.corners, other.corners
        low = (min(ours[0], theirs[0]), min(ours[1], theirs[1]))
        high = (max(ours[2], theirs[2]), max(ours[3], theirs[3]))
        return Patch(*low, self.within(*low, *high) | other.within(*low, *high))

    def run_lengths(self, height: int, width: int) -> dict:
        """COCO's compressed run lengths in an image of this size, with text for JSON."""
        from pycocotools import mask as coco

        # Runs go down the columns. An empty row below keeps the runs of two columns apart.
        closed = np.pad(self.mask, ((1, 1), (0, 0))).T.astype(np.int8)
        columns, rows = np.diff(closed, axis=1).nonzero()
        edges = (columns + self.x) * height + rows + self.y
        counts = np.diff(edges, prepend=0, append=height * width)
        found = coco.frPyObjects(
            {'size': [height, width], 'counts': counts.tolist()}, height, width
        )
        return {'size': [height, width], 'counts': found['counts'].decode('ascii')}
