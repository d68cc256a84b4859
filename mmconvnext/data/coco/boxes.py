# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Are all boxes of a file what COCO means, (x, y, width, height) in pixels of the image?"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ledger import Ledger, Tally

CHECK = 'boxes'
DIFFER = 'boxes that differ from their segmentation'
LEAVE = (
    'boxes that reach far out of their image; look whether each "bbox" is [x, y, width, height], '
    'with the left upper corner first'
)
# Our choices: by how many pixels, or how much of its size, a box may differ from its segmentation
# or leave the image; and from which share of the boxes on a fault is that of the file rather than
# of single boxes.
SLACK, RELATIVE, SHARE = 3.0, 0.1, 0.5
LEAVING = 0.2  # share of boxes that leave the image from which on they may mean something else
NEARLY = 0.9  # all, but for a few that are broken in another way
# Boxes in percent fill a square of 100 on images that are larger; our choices of how many boxes
# and how large an image it takes to be sure, and how far the boxes reach.
PERCENT, ENOUGH, LARGE, REACH = 100, 20, 200, 90
MEANING = 'a "bbox" is [x, y, width, height] in pixels'


@dataclass
class Boxes:
    """Counts that tell how the boxes of a file are meant."""

    count: int = 0
    fractions: int = 0  # all values at most 1
    percents: int = 0  # all values at most 100, on large images
    reach: tuple[float, float] = (0, 0)  # right and lower edge farthest from 0
    leaving: Tally = field(default_factory=Tally)  # right or lower edge far outside of the image
    corners: int = 0  # would be sound as x1, y1, x2, y2
    corners_of_area: int = 0  # the listed area is that of x1, y1, x2, y2
    compared: int = 0
    differing: Tally = field(default_factory=Tally)
    corners_of_shape: int = 0

    def add(self, box: list, area: float | None, size: tuple, where: object) -> None:
        """Count a box as it is listed.

        Args:
            area: the listed one, if there is no segmentation that tells more.
            size: (width, height) of the image; 0 if unknown.
        """
        x, y, w, h = box
        width, height = size
        self.count += 1
        if area and w > x and h > y:
            near = 0.01 * area  # for rounding
            self.corners_of_area += abs((w - x) * (h - y) - area) < near < abs(w * h - area)
        if not width or not height:
            return
        right, low = x + w, y + h
        self.fractions += -1 <= min(box) and 0 < max(w, h) and max(box) <= 1 < min(size)
        self.percents += 0 <= min(box) and max(right, low) <= PERCENT and min(size) >= LARGE
        self.reach = max(self.reach[0], right), max(self.reach[1], low)
        if right > width + _slack(w) or low > height + _slack(h):
            self.leaving.add(where)
        self.corners += x < w <= width + 1 and y < h <= height + 1

    def compare(self, box: list, bounds: tuple, where: object) -> None:
        """Compare a box with the bounds (x1, y1, x2, y2) of its segmentation."""
        x, y, w, h = box
        x1, y1, x2, y2 = bounds
        self.compared += 1
        slack = _slack(max(x2 - x1, y2 - y1))
        if max(abs(x - x1), abs(y - y1), abs(x + w - x2), abs(y + h - y2)) > slack:
            self.differing.add(where)
            as_corners = max(abs(x - x1), abs(y - y1), abs(w - x2), abs(h - y2))
            self.corners_of_shape += as_corners <= slack

    def judge(self, ledger: Ledger) -> None:
        """Refuse boxes that mean something else; note what differs or leaves the image."""
        fault = self._fault()
        if fault:
            ledger.refuse(CHECK, fault)
            return
        if self.differing.count:
            ledger.noted[DIFFER] = self.differing
        if self.leaving.count > LEAVING * self.count:
            ledger.noted[LEAVE] = self.leaving

    def _fault(self) -> str:
        """What is wrong with most of the boxes; '' if nothing is."""
        # A few segmentations say little about many boxes.
        many, most = SHARE * self.count, SHARE * max(self.compared, LEAVING * self.count)
        if self.fractions > many:
            return (
                f'{self.fractions} of {self.count} boxes are at most one pixel large, as if they '
                'were fractions of the image; multiply "bbox" by its width and height, and '
                '"segmentation" too if that has fractions'
            )
        corners = self.corners > NEARLY * self.count
        if self.corners_of_shape > most or self.corners_of_area > many:
            return self._corners(self.differing)
        if self.leaving.count > LEAVING * self.count and corners:
            return self._corners(self.leaving)
        if self.differing.count > most:
            return (
                f'{self.differing.count} of {self.compared} boxes differ from their segmentation '
                f'({self.differing}); {MEANING}, as the polygons'
            )
        if self.leaving.count > many:
            return (
                f'{self.leaving.count} of {self.count} boxes leave their image ({self.leaving}); '
                f'the file belongs to images of another size, or not every {MEANING[2:]}'
            )
        if self.count >= ENOUGH and self.percents == self.count and min(self.reach) > REACH:
            return (
                f'all {self.count} boxes lie in the first {PERCENT} x {PERCENT} pixels of larger '
                f'images, as if they were percent; {MEANING}'
            )
        return ''

    def _corners(self, first: Tally) -> str:
        named = f' ({first})' if first.count else ''
        return (
            f'the {self.count} boxes are corners [x1, y1, x2, y2]{named}, but COCO\'s "bbox" is '
            '[x, y, width, height]; subtract x1 and y1 from the last two numbers of each'
        )


def _slack(extent: float) -> float:
    """By how many pixels a box of this size may be wrong, before it means something else."""
    return max(SLACK, RELATIVE * extent)
