# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label maps, some of them, read: pixels of each class, and connected regions of a class."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import cv2
import numpy as np

from ...data.cache import Progress
from .listing import Listing
from .samples import choose, loads_labels

MOST_MAPS = 500  # label maps that are read, chosen at random; our choice
LARGEST = 8  # regions of a class in a map that are kept, and the smallest one; our choice


@dataclass
class Regions:
    """What R of a split's label maps hold; K regions of one class each.

    Attributes:
        maps: (R,) the images whose maps were read.
        pixels: (R, C + 1) pixels of each class, and of none in the last column.
        images, boxes, labels: (K,) or (K, 4), of the regions, as in :class:`.listing.Listing`.
        failed: why a map could not be read, by image.
    """

    maps: np.ndarray
    pixels: np.ndarray
    images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    failed: dict[int, str]

    @property
    def objects(self) -> np.ndarray:
        return np.arange(len(self.images))

    @property
    def by_class(self) -> np.ndarray:
        """(C,) in how many of the maps a class is."""
        return (self.pixels[:, :-1] > 0).sum(axis=0)


def read_regions(listing: Listing, seed: int) -> Regions:
    """Read at most :data:`MOST_MAPS` label maps of a split with the transforms that load them."""
    count = len(listing.split.classes)
    chosen = choose(len(listing.files), MOST_MAPS, seed)
    maps, pixels, images, boxes, labels, failed = [], [], [], [], [], {}
    progress = Progress('label maps looked at', len(chosen))
    for done, image in enumerate(chosen, 1):
        try:
            array = label_map(listing, image)
        except Exception as error:  # a broken file can raise anything
            failed[image] = f'{type(error).__name__}: {error}'
            continue
        known = np.where((array >= 0) & (array < count), array, count).astype(np.int32)
        found = np.bincount(known.ravel(), minlength=count + 1)
        maps.append(image)
        pixels.append(found)
        for label in np.flatnonzero(found[:-1]):
            for box in _boxes(known == label):
                images.append(image)
                boxes.append(box)
                labels.append(label)
        progress.show(done)
    return Regions(
        maps=np.array(maps, int),
        pixels=np.array(pixels, int).reshape(-1, count + 1),
        images=np.array(images, int),
        boxes=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, int),
        failed=failed,
    )


def label_map(listing: Listing, image: int) -> np.ndarray:
    """The (H, W) labels of an image, as they are loaded.

    Raises:
        Exception: whatever the transforms raise for a bad file.
    """
    results = copy.deepcopy(listing.info(image))
    for transform in listing.split.parts[listing.places[image, 0]].pipeline.transforms:
        if loads_labels(transform):
            results = transform(results)
    return results['gt_seg_map']


def _boxes(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """x1, y1, x2, y2 of the largest connected regions, and of the smallest one."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    stats = stats[1:]  # the first is the background
    order = np.argsort(-stats[:, cv2.CC_STAT_AREA], kind='stable')
    chosen = [*order[:LARGEST], *order[LARGEST:][-1:]]
    return [(int(x), int(y), int(x + w), int(y + h)) for x, y, w, h, _ in stats[chosen]]
