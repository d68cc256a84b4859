# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Are all boxes of a file what COCO means, (x, y, width, height) in pixels of the image?"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ledger import Ledger, Tally

CHECK = 'boxes'
DIFFER = 'boxes that differ from their segmentation'
# Our choices: by how many pixels, or how much of its size, a box may differ from its polygon; and
# from which share of the boxes on a fault is that of the file rather than of single boxes.
SLACK, RELATIVE, SHARE = 3.0, 0.1, 0.5
LEAVING = 0.2  # of boxes that leave the image, if all are corners otherwise


@dataclass
class Boxes:
    """Counts that tell how the boxes of a file are meant."""

    count: int = 0
    fractions: int = 0  # all values at most 1
    leaving: int = 0  # right or lower edge outside of the image
    corners: int = 0  # would be sound as x1, y1, x2, y2
    compared: int = 0
    differing: Tally = field(default_factory=Tally)
    corners_of_shape: int = 0
    first: Tally = field(default_factory=Tally)

    def add(self, box: list, width: float, height: float, where: object) -> None:
        """Count a box of an image of this size."""
        x, y, w, h = box
        self.count += 1
        self.fractions += max(box) <= 1 and min(width, height) > 1
        if x + w > width + 1 or y + h > height + 1:
            self.leaving += 1
            self.first.add(where)
        self.corners += x < w <= width + 1 and y < h <= height + 1

    def compare(self, box: list, bounds: tuple, where: object) -> None:
        """Compare a box with the bounds (x1, y1, x2, y2) of its segmentation."""
        x, y, w, h = box
        x1, y1, x2, y2 = bounds
        self.compared += 1
        slack = max(SLACK, RELATIVE * max(x2 - x1, y2 - y1))
        if max(abs(x - x1), abs(y - y1), abs(x + w - x2), abs(y + h - y2)) > slack:
            self.differing.add(where)
            as_corners = max(abs(x - x1), abs(y - y1), abs(w - x2), abs(h - y2))
            self.corners_of_shape += as_corners <= slack

    def judge(self, ledger: Ledger) -> None:
        """Refuse boxes that mean something else; note single ones that differ."""
        differing = self.differing.count
        if self.fractions > SHARE * self.count:
            ledger.refuse(
                CHECK,
                f'{self.fractions} of {self.count} boxes are at most one pixel large, as if they '
                'were fractions of the image; multiply "bbox" and "segmentation" by its width and '
                'height',
            )
        elif self.corners_of_shape > SHARE * self.compared:
            ledger.refuse(CHECK, f'{self._corners()} ({self.differing})')
        elif differing > SHARE * self.compared:
            ledger.refuse(
                CHECK,
                f'{differing} of {self.compared} boxes differ from their segmentation '
                f'({self.differing}); a "bbox" is [x, y, width, height] in pixels, as the polygons',
            )
        elif self.leaving > LEAVING * self.count and self.corners == self.count:
            ledger.refuse(CHECK, f'{self._corners()} ({self.first})')
        elif self.leaving > SHARE * self.count:
            ledger.refuse(
                CHECK,
                f'{self.leaving} of {self.count} boxes leave their image ({self.first}); the file '
                'belongs to images of another size, or a "bbox" is not [x, y, width, height]',
            )
        else:
            for where in self.differing.first:
                ledger.note(DIFFER, where)
            if DIFFER in ledger.noted:
                ledger.noted[DIFFER].count = differing

    def _corners(self) -> str:
        return (
            f'the {self.count} boxes are corners [x1, y1, x2, y2], but COCO\'s "bbox" is '
            '[x, y, width, height]; subtract x1 and y1 from the last two numbers of each'
        )
