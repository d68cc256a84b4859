# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Objects in COCO's form."""

from __future__ import annotations

from collections.abc import Sequence

from .detections import Detections

FIRST = 1  # category id of label 0: many readers of COCO files take 0 for "none"


def categories(classes: Sequence[str]) -> list[dict]:
    """COCO's categories of the classes, in their order."""
    return [dict(id=label + FIRST, name=name) for label, name in enumerate(classes)]


def annotations(found: Detections, height: int, width: int, image_id: int = 1) -> list[dict]:
    """COCO's annotations of the objects of an image of this size, with their scores."""
    rows = []
    for i, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
        row = dict(
            id=i + 1,
            image_id=image_id,
            category_id=int(found.labels[i]) + FIRST,
            bbox=[round(part, 2) for part in (x1, y1, x2 - x1, y2 - y1)],
            area=round((x2 - x1) * (y2 - y1), 2),
            iscrowd=0,
            score=round(float(found.scores[i]), 6),
        )
        if found.patches is not None:
            row['area'] = found.patches[i].area
            row['segmentation'] = found.patches[i].run_lengths(height, width)
        rows.append(row)
    return rows
