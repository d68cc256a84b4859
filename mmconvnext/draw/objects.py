# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Boxes and masks of objects on an image, drawn by supervision's annotators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .picture import as_picture, put_texts, text_size

# Our choice: with more objects in an image, their texts would cover it.
MOST_TEXTS = 40
OPACITY = 0.45  # of masks


class Objects(NamedTuple):
    """Objects of an image with N of them."""

    boxes: np.ndarray  # (N, 4) x1, y1, x2, y2 in pixels
    labels: np.ndarray  # (N,) indices of classes
    scores: np.ndarray | None = None  # (N,) 0 to 1; None: the ground truth
    masks: np.ndarray | None = None  # (N, H, W) bool

    def at_least(self, score: float) -> Objects:
        """Those with this score or more, highest first; all of the ground truth."""
        if self.scores is None:
            return self
        order = np.argsort(-self.scores, kind='stable')
        return self.take(order[self.scores[order] >= score])

    def take(self, chosen: np.ndarray) -> Objects:
        """The objects with these indices, in this order."""
        return Objects(*(None if part is None else part[chosen] for part in self))

    def scaled(self, scale: int) -> Objects:
        """The objects of an image that :func:`.layout.enlarge` made ``scale`` times as long."""
        masks = self.masks
        if masks is not None and scale != 1:
            masks = masks.repeat(scale, axis=1).repeat(scale, axis=2)
        return self._replace(boxes=self.boxes * scale, masks=masks)


def draw_objects(
    image: np.ndarray,
    objects: Objects,
    classes: Sequence[str],
    colours: Sequence[Sequence[int]],
    *,
    texts: bool | None = None,
    thickness: int | None = None,
) -> np.ndarray:
    """A picture of the image with its objects; the first object lies on top.

    Args:
        image: see :func:`.picture.as_picture`.
        classes, colours: name and RGB colour of each class.
        texts: write class and score beside each box; None: unless there are too many.
        thickness: of the boxes' lines in pixels; None: by the size of the image.
    """
    from supervision import (
        BoxAnnotator,
        Color,
        ColorLookup,
        ColorPalette,
        Detections,
        MaskAnnotator,
    )

    picture = as_picture(image)
    if not len(objects.boxes):
        return picture
    last_on_top = objects.take(np.arange(len(objects.boxes))[::-1])
    found = Detections(
        xyxy=last_on_top.boxes.astype(np.float32),
        mask=None if last_on_top.masks is None else last_on_top.masks.astype(bool),
        class_id=last_on_top.labels.astype(int),
    )
    look = dict(
        color=ColorPalette([Color(*map(int, colour)) for colour in colours]),
        color_lookup=ColorLookup.CLASS,
    )
    side = min(picture.shape[:2])
    # supervision paints in OpenCV's order of channels.
    canvas = np.ascontiguousarray(picture[..., ::-1])
    if found.mask is not None:
        canvas = MaskAnnotator(opacity=OPACITY, **look).annotate(canvas, found)
    canvas = BoxAnnotator(thickness=thickness or max(1, round(side / 300)), **look).annotate(
        canvas, found
    )
    picture = np.ascontiguousarray(canvas[..., ::-1])
    if texts or (texts is None and len(objects.boxes) <= MOST_TEXTS):
        size = max(10, round(side / 40))
        put_texts(picture, _texts(last_on_top, classes, colours, size, picture.shape[1]), size)
    return picture


def _texts(
    objects: Objects, classes: Sequence[str], colours: Sequence, size: int, width: int
) -> list[tuple]:
    """Of boxes in a picture of this width."""
    texts = []
    for index, (box, label) in enumerate(zip(objects.boxes, objects.labels)):
        text = str(classes[label])
        if objects.scores is not None:
            text += f' {objects.scores[index]:.2f}'
        wide, high = text_size(text, size)
        x = max(0, min(int(box[0]), width - wide - 4))  # not cut by the right border
        texts.append((x, max(0, int(box[1]) - high), text, colours[label]))
    return texts
