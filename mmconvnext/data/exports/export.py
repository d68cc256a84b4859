# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a reader makes of an export: COCO's content with absolute names, or pairs of label maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_api

from ..coco.categories import BLANKS
from ..label_values import LabelValues
from ..ledger import Ledger
from .folder import Folder, in_maps

UNLABELLED = 'images without a file of annotations'


@dataclass
class Objects:
    """Images with objects.

    Attributes:
        content: as in a COCO file.
        folder: below which the names of its images begin; '' if they are whole paths.
        splits: by id of an image, the split that the export puts it in: 'train', 'val' or 'test';
            '' or no entry if it does not say.
        source: the name of the file, for messages; '' if it is one of many.
    """

    content: dict
    folder: str = ''
    splits: dict[object, str] = field(default_factory=dict)
    source: str = ''


@dataclass
class Maps:
    """Images with label maps.

    Attributes:
        pairs: image, label map, split.
        classes: names, in the order of the labels.
        values: what the files hold for each label.
        objects: by image, a map in which each object has a value of its own.
    """

    pairs: list[tuple[Path, Path, str]]
    classes: list[str]
    values: LabelValues
    objects: dict[Path, Path] = field(default_factory=dict)


@dataclass
class Export:
    """Everything that was read, and what was noticed."""

    parts: list[Objects] = field(default_factory=list)
    maps: Maps | None = None
    ledger: Ledger = field(default_factory=Ledger)
    notes: list[str] = field(default_factory=list)  # choices that were made, for the report
    embedded: dict[Path, bytes] = field(default_factory=dict)  # images that are no files


class Shape(NamedTuple):
    """A part of an object, in one of three forms."""

    box: list[float] | None = None
    polygon: list[float] | None = None
    rle: dict | None = None


class Writer:
    """Collects images and objects as COCO's content, for the formats with a file for each image."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.names: dict[str, int] = {}  # ids of the classes
        self.blanks: set[str] = set()  # names that had some around them
        self.images: dict[Path, dict] = {}
        self.objects: list[dict] = []
        self.splits: dict[object, str] = {}

    def image(self, file: Path, size: tuple[int, int], split: str = '') -> int:
        """The id of an image; it is listed once."""
        if file not in self.images:
            i = len(self.images) + 1
            self.images[file] = dict(id=i, file_name=str(file), width=size[0], height=size[1])
            self.splits[i] = split
        return self.images[file]['id']

    def add(
        self,
        image: int,
        name: str,
        box: list[float] | None = None,
        polygons: list[list[float]] | None = None,
        rle: dict | None = None,
        crowd: bool = False,
    ) -> None:
        """Add an object; the box of polygons (x, y, x, y, ...) is theirs if none is given."""
        if polygons and box is None:
            xs = [v for points in polygons for v in points[::2]]
            ys = [v for points in polygons for v in points[1::2]]
            box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        if rle:
            box = box or [float(v) for v in rle_api.toBbox(rle)]
        area = sum(map(area_of, polygons)) if polygons else 0
        area = float(rle_api.area(rle)) if rle else area or box[2] * box[3]
        entry = dict(id=len(self.objects) + 1, image_id=image, category_id=self.class_id(name))
        entry.update(bbox=[float(v) for v in box], area=area, iscrowd=int(crowd))
        if rle or polygons:
            entry['segmentation'] = rle or polygons
        self.objects.append(entry)

    def add_groups(self, image: int, groups: dict[tuple[str, object], list[Shape]]) -> None:
        """Add objects of several shapes: all masks and polygons of one label and group are one.

        Boxes in such a group are its outline; boxes alone are an object each.
        """
        for (name, _), shapes in groups.items():
            rles = [shape.rle for shape in shapes if shape.rle]
            polygons = [shape.polygon for shape in shapes if shape.polygon]
            if rles:
                size = rles[0]['size']
                rles += [rle_api.merge(rle_api.frPyObjects([p], *size)) for p in polygons]
                self.add(image, name, rle=_text(rle_api.merge(rles)))
            elif polygons:
                self.add(image, name, polygons=polygons)
            else:
                for shape in shapes:
                    self.add(image, name, shape.box)

    def class_id(self, name: str) -> int:
        """The id of a class, which is listed from then on; blanks around its name are left out."""
        plain = name.strip()
        if plain != name and name not in self.blanks:
            self.blanks.add(name)
            self.ledger.mend(BLANKS, repr(name))
        return self.names.setdefault(plain, len(self.names) + 1)

    def done(self) -> Objects:
        categories = [dict(id=i, name=name) for name, i in self.names.items()]
        content = dict(
            images=list(self.images.values()), annotations=self.objects, categories=categories
        )
        return Objects(content, splits=self.splits)


def leave_unlabelled(folder: Folder, writer: Writer) -> None:
    """Count images without a file of annotations: nobody may have looked at them."""
    for image in folder.images:
        if image not in writer.images and not in_maps(image.relative_to(folder.root)):
            writer.ledger.leave_out(UNLABELLED, folder.below(image))


def area_of(points: list[float]) -> float:
    """The area of a polygon (x, y, x, y, ...), by the shoelace formula."""
    xs, ys = np.array(points[::2]), np.array(points[1::2])
    return abs(float(xs @ np.roll(ys, -1) - ys @ np.roll(xs, -1))) / 2


def rle_of(mask: np.ndarray) -> dict:
    """COCO's run lengths of a mask (height, width), as JSON can hold them."""
    return _text(rle_api.encode(np.asfortranarray(mask, dtype=np.uint8)))


def _text(rle: dict) -> dict:
    return dict(size=[int(v) for v in rle['size']], counts=rle['counts'].decode())
