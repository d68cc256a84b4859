# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""All images and objects of a split as arrays, from its annotations; images are not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pycocotools import mask as rle_api

from ...data.images import read_headers
from .split import Split


@dataclass
class Listing:
    """M images and their N objects, in the order of the annotation files.

    Attributes:
        files: of the M images.
        maps: of their label maps; '' without.
        sizes: (M, 2) width and height as listed, else of the files as they are loaded; 0: unknown.
        turned: (M,) the EXIF orientation by which the image is turned when it is loaded, or 1.
        left_out: (M,) bool: ``filter_cfg`` leaves the image out of the training.
        places: (M, 2) the part of the split, and the index in it, or in its ``left_out``.
        images: (N,) the image of each object.
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the image.
        labels: (N,) indices of classes.
        ignored: (N,) bool: a region to ignore.
        bounds: (N, 4) the box around the mask; nan without a mask.
    """

    split: Split
    files: list[str]
    maps: list[str]
    sizes: np.ndarray
    turned: np.ndarray
    left_out: np.ndarray
    places: np.ndarray
    images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    bounds: np.ndarray

    @cached_property
    def objects(self) -> np.ndarray:
        """The objects that are no regions to ignore."""
        return np.flatnonzero(~self.ignored)

    @cached_property
    def counts(self) -> np.ndarray:
        """(M,) the objects of each image."""
        return np.bincount(self.images[self.objects], minlength=len(self.files))

    @cached_property
    def by_class(self) -> np.ndarray:
        """The objects of each class."""
        return np.bincount(self.labels[self.objects], minlength=len(self.split.classes))

    @property
    def extents(self) -> np.ndarray:
        """(N, 2) width and height of the objects."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    @property
    def has_objects(self) -> bool:
        return bool(len(self.objects))

    @property
    def has_maps(self) -> bool:
        return any(self.maps)

    def info(self, image: int) -> dict:
        """What the dataset knows of an image, for its pipeline."""
        part, index = self.places[image]
        if self.left_out[image]:
            return self.split.left_out[part][index]
        return self.split.parts[part].get_data_info(int(index))

    def name(self, image: int) -> str:
        """The file name of an image."""
        return Path(self.files[image]).name


def list_split(split: Split) -> Listing:
    """Read the infos of all images of a split."""
    files, maps, sizes, places, left_out = [], [], [], [], []
    images, boxes, labels, ignored, bounds = [], [], [], [], []
    for place, info in _infos(split):
        for instance in info.get('instances') or ():
            box, label = instance.get('bbox'), instance.get('bbox_label')
            if box is None or not isinstance(label, int) or not 0 <= label < len(split.classes):
                continue
            images.append(len(files))
            boxes.append(tuple(box[:4]))
            labels.append(label)
            ignored.append(bool(instance.get('ignore_flag')))
            bounds.append(_bounds(instance.get('mask'), info))
        files.append(str(info.get('img_path', '')))
        maps.append(str(info.get('seg_map_path') or ''))
        sizes.append((info.get('width') or 0, info.get('height') or 0))
        places.append(place[:2])
        left_out.append(place[2])
    found = Listing(
        split=split,
        files=files,
        maps=maps,
        sizes=np.array(sizes, int).reshape(-1, 2),
        turned=np.ones(len(files), int),
        left_out=np.array(left_out, bool),
        places=np.array(places, int).reshape(-1, 2),
        images=np.array(images, int),
        boxes=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, int),
        ignored=np.array(ignored, bool),
        bounds=np.array(bounds, float).reshape(-1, 4),
    )
    _add_headers(found)
    return found


def _infos(split: Split) -> Iterator[tuple[tuple[int, int, bool], dict]]:
    for number, left_out in enumerate(split.left_out):
        for index, info in enumerate(split.infos(number)):
            yield (number, index, False), info
        for index, info in enumerate(left_out):
            yield (number, index, True), info


def _bounds(mask: object, info: dict) -> Sequence[float]:
    """The box around a mask in COCO's forms: polygons, or run lengths."""
    if isinstance(mask, dict) and mask.get('counts'):
        if isinstance(mask['counts'], list):
            mask = rle_api.frPyObjects(mask, *mask['size'])
        x, y, width, height = rle_api.toBbox(mask)
        return x, y, x + width, y + height
    if isinstance(mask, (list, tuple)) and len(mask) and isinstance(mask[0], (list, tuple)):
        xs = [x for polygon in mask for x in polygon[::2]]
        ys = [y for polygon in mask for y in polygon[1::2]]
        return min(xs), min(ys), max(xs), max(ys)
    return (np.nan,) * 4


def _add_headers(listing: Listing) -> None:
    """Sizes that are not listed, and EXIF orientations; remote images are left as they are."""
    files = {index: Path(file) for index, file in enumerate(listing.files) if '://' not in file}
    headers = read_headers(dict.fromkeys(files.values()), listing.split.turns)
    for index, file in files.items():
        header = headers[file]
        listing.turned[index] = header.orientation
        if not listing.sizes[index].all():
            listing.sizes[index] = header.loaded
