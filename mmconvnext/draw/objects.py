# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Boxes and masks of objects on an image, drawn by supervision's annotators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .picture import as_picture, put_texts
from .texts import place_texts

OPACITY = 0.45  # of masks; our choice


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
    outline: bool = False,
) -> np.ndarray:
    """A picture of the image with its objects; the first object lies on top.

    Args:
        image: see :func:`.picture.as_picture`.
        classes, colours: name and RGB colour of each class.
        texts: write class and score beside each box; None: where there is room
            (:func:`.texts.place_texts`).
        thickness: of lines in pixels; None: by the size of the image.
        outline: draw the outlines of masks only, without tints; boxes where there are no masks.
    """
    from supervision import (
        BoxAnnotator,
        Color,
        ColorLookup,
        ColorPalette,
        Detections,
        MaskAnnotator,
        PolygonAnnotator,
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
    lines = dict(thickness=thickness or line_width(picture), **look)
    # supervision paints in OpenCV's order of channels.
    canvas = np.ascontiguousarray(picture[..., ::-1])
    if found.mask is not None and not outline:
        canvas = MaskAnnotator(opacity=OPACITY, **look).annotate(canvas, found)
    annotator = PolygonAnnotator if found.mask is not None and outline else BoxAnnotator
    canvas = annotator(**lines).annotate(canvas, found)
    picture = np.ascontiguousarray(canvas[..., ::-1])
    if texts is None or texts:
        write_texts(picture, objects, classes, colours, every=bool(texts))
    return picture


def write_texts(
    picture: np.ndarray,
    objects: Objects,
    classes: Sequence[str],
    colours: Sequence[Sequence[int]],
    *,
    every: bool = False,
) -> None:
    """Write class and score beside the objects of a picture, in place; see :func:`draw_objects`.

    Args:
        every: also where there is no room.
    """
    texts = [str(classes[label]) for label in objects.labels]
    if objects.scores is not None:
        texts = [f'{text} {score:.2f}'.lstrip() for text, score in zip(texts, objects.scores)]
    placed, size = place_texts(objects.boxes, texts, picture.shape[:2], every=every)
    # The first object's last, on top.
    rows = [(x, y, texts[i], colours[objects.labels[i]]) for i, x, y in placed[::-1]]
    put_texts(picture, rows, size)


def line_width(picture: np.ndarray) -> int:
    """The width of lines in pixels; our choice."""
    return max(1, round(min(picture.shape[:2]) / 300))
