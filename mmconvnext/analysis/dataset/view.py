# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""An image with its labels, to be drawn: fitted to a size, with title and legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ...draw import Objects, draw_label_map, draw_objects, with_legend, with_title

IGNORED, GREY = 'ignored', (128, 128, 128)  # how regions to ignore are drawn
MOST_NAMES = 24  # classes in a legend, the most frequent ones; our choice


class View(NamedTuple):
    """An image and what is labelled on it.

    Attributes:
        image: (H, W, 3) uint8 in RGB.
        objects: None without; the label of a region to ignore is the number of classes.
        labels: (H, W) of a label map; None without.
        about: words for the title.
    """

    image: np.ndarray
    objects: Objects | None = None
    labels: np.ndarray | None = None
    about: str = ''

    def fitted(self, side: int) -> View:
        """With a long side of ``side`` pixels or somewhat less.

        Small images are enlarged by whole factors, so that their pixels stay visible.
        """
        height, width = self.image.shape[:2]
        scale = side / max(height, width)
        scale = float(int(scale)) if scale >= 1 else scale
        return self.resized((max(1, round(width * scale)), max(1, round(height * scale))))

    def resized(self, size: tuple[int, int]) -> View:
        """With another (width, height)."""
        height, width = self.image.shape[:2]
        if size == (width, height):
            return self
        smaller = size[0] < width
        image = cv2.resize(self.image, size, interpolation=_AREA if smaller else _NEAREST)
        labels = None if self.labels is None else _resized(self.labels, size)
        objects = self.objects
        if objects is not None:
            objects = resized_objects(objects, (width, height), size)
        return self._replace(image=image, labels=labels, objects=objects)

    def draw(self, classes: Sequence[str], colours: Sequence, texts: bool | None = None):
        """A picture with the labels."""
        picture = self.image
        if self.labels is not None:
            picture = draw_label_map(picture, self.labels, colours, classes=classes)
        if self.objects is not None:
            texts = False if len(classes) == 1 else texts
            names, tints = [*classes, IGNORED], [*colours, GREY]
            picture = draw_objects(picture, self.objects, names, tints, texts=texts)
        return picture

    def draw_titled(self, classes: Sequence[str], colours: Sequence) -> np.ndarray:
        """A picture with the labels, a title, and a legend of the classes in it."""
        picture = with_title(self.draw(classes, colours), self.about)
        shown = self._present(len(classes))
        if not shown:
            return picture
        names, tints = [*classes, IGNORED], [*colours, GREY]
        return with_legend(picture, [names[i] for i in shown], [tints[i] for i in shown])

    def _present(self, count: int) -> list[int]:
        """The classes in the picture; small objects have no names beside them."""
        found = np.zeros(count + 1, int)
        if self.labels is not None:
            known = self.labels[(self.labels >= 0) & (self.labels < count)]
            found += np.bincount(known.ravel().astype(int), minlength=count + 1)
        elif self.objects is not None:
            found += np.bincount(self.objects.labels.astype(int), minlength=count + 1)
        return [int(i) for i in np.argsort(-found, kind='stable')[:MOST_NAMES] if found[i]]


def resized_objects(
    objects: Objects, old: tuple[float, float], new: tuple[float, float]
) -> Objects:
    """The objects of an image whose (width, height) changed from ``old`` to ``new``."""
    scale = np.array([new[0] / old[0], new[1] / old[1]])
    masks = objects.masks
    if masks is not None:
        size = (round(new[0]), round(new[1]))
        resized = [_resized(mask.astype(np.uint8), size) > 0 for mask in masks]
        masks = np.array(resized, bool).reshape(-1, size[1], size[0])
    return objects._replace(boxes=objects.boxes * np.tile(scale, 2), masks=masks)


def _resized(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    array = array if array.dtype == np.uint8 else array.astype(np.int32)
    return cv2.resize(array, size, interpolation=_NEAREST)


_NEAREST, _AREA = cv2.INTER_NEAREST, cv2.INTER_AREA
