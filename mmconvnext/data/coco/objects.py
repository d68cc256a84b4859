# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The entries of "annotations": what each object refers to, its box and its mask."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from ..cache import Progress
from ..ledger import Ledger
from ..values import LARGEST_ID, key, number
from .boxes import Boxes
from .geometry import NUMBERS, Shape, area_of, mask_of_box, read_shape, rectangle, turned
from .images import ROUNDING, Listed, extent, turned_point
from .wanted import Wanted

# Kinds of the ledger. Mended:
REFERENCES = '"image_id" or "category_id" that are no integers, made integers'
CROWDS = '"iscrowd" that are missing or neither 0 nor 1, set'
IGNORED = 'objects marked "ignore", made regions to ignore (iscrowd=1)'
BOXES_OF_SHAPES = 'boxes that are missing or unusable, taken from the segmentation'
BOXES_OF_STRINGS = 'boxes of strings, made numbers'
CLIPPED = 'boxes partly outside the image, cut at its border'
AREAS = '"area" that are missing or not positive, computed'
TURNED = 'objects turned by the EXIF orientation of their image'
UNCROWDED = 'objects with iscrowd=1, taken as ordinary ones (crowd_as_object)'
BOXED = 'objects without a mask, whose box was taken (masks_from_boxes)'
IDS = (
    'ids of objects that are 0, missing or not unique: numbered from 1, because pycocotools takes '
    'id 0 for "no match"'
)
# Left out:
BROKEN = 'entries of "annotations" that are no objects'
NO_IMAGE = 'objects of images that are not listed'
NO_CATEGORY = 'objects of categories that are not listed'
NO_BOX = 'objects without a usable box or segmentation'
OUTSIDE = 'objects outside their image'
NO_MASK = 'objects without a mask, made regions to ignore'
SMALL = 'objects under one pixel, which mmdet does not learn'


class Objects:
    """Checks all objects, one field after the other, and changes them in place where it must.

    Attributes:
        entries: the sound objects.
        changed: whether one of them is not as it was listed.
        learnt: by id of the category, how many objects a model learns.
        crowds: how many are regions to ignore.
        boxes: facts about all boxes of the file.
        without_mask: why objects have no mask, and how many, if masks are wanted.
    """

    def __init__(
        self,
        images: dict[int | str, Listed],
        categories: dict[int | str, int],
        wanted: Wanted,
        ledger: Ledger,
    ):
        self.images, self.categories, self.wanted, self.ledger = images, categories, wanted, ledger
        self.entries: list[dict] = []
        self.changed = False
        self.learnt: Counter[int] = Counter()
        self.by_image: Counter[int] = Counter()
        self.crowds = 0
        self.boxes = Boxes()
        self.without_mask: Counter[str] = Counter()

    def add_all(self, entries: list) -> None:
        progress = Progress('objects checked', len(entries))
        for position, entry in enumerate(entries):
            if position % 10_000 == 0:
                progress.show(position)
            sound = self._sound(position, entry)
            if sound is not None:
                self.entries.append(sound)
        self._number()

    def _sound(self, position: int, entry: object) -> dict | None:
        """An object, changed where it must be; None if it is left out."""
        if not isinstance(entry, dict):
            return self.ledger.leave_out(BROKEN, f'number {position}')
        where = entry.get('id', f'number {position}')
        image = self.images.get(key(entry.get('image_id')))
        category = self.categories.get(key(entry.get('category_id')))
        if image is None or category is None:
            return self.ledger.leave_out(NO_IMAGE if image is None else NO_CATEGORY, where)
        changes = self._references(entry, image.id, category, where)
        crowd = self._crowd(entry, where)
        if type(entry.get('iscrowd')) is not int or entry['iscrowd'] != crowd:
            changes['iscrowd'] = crowd
        if entry.get('ignore'):
            changes['ignore'] = 0
        width, height = (int(v or 0) for v in extent(image.turn, image.width, image.height))
        shape, reason = read_shape(entry.get('segmentation'), width, height), ''
        if isinstance(shape, str):
            shape, reason = None, shape
        box = self._box(entry, shape, where)
        if box is None:
            return self.ledger.leave_out(NO_BOX, where)
        if image.turn != 1:
            move = turned_point(image.turn, width, height)
            shape, box = shape and turned(shape, move, width, height), _turned(box, move)
            self.ledger.mend(TURNED, where)
        box = self._in_image(box, image, where)
        if box is None:
            return self.ledger.leave_out(OUTSIDE, where)
        if box is not entry.get('bbox'):
            changes['bbox'] = box
        if self.wanted.masks:
            changes.update(self._mask(entry, box, shape, reason, image, crowd, where))
            crowd = changes.get('iscrowd', crowd)
        elif image.turn != 1 and shape:
            changes['segmentation'] = shape.value
        changes.update(self._area(entry, box, shape, where))
        self.by_image[image.id] += 1
        if crowd:
            self.crowds += 1
        elif box[2] < 1 or box[3] < 1:
            self.ledger.leave_out(SMALL, where)
        else:
            self.learnt[category] += 1
        if changes:
            self.changed = True
            entry.update(changes)
        return entry

    def _references(self, entry: dict, image: int, category: int, where: object) -> dict:
        if not type(entry['image_id']) is type(entry['category_id']) is int:
            self.ledger.mend(REFERENCES, where)
        elif entry['image_id'] == image and entry['category_id'] == category:
            return {}
        return {'image_id': image, 'category_id': category}

    def _crowd(self, entry: dict, where: object) -> int:
        value = entry.get('iscrowd')
        crowd = number(int(value) if isinstance(value, bool) else value)
        if entry.get('ignore') and not crowd:
            self.ledger.mend(IGNORED, where)
            return 1
        if crowd and self.wanted.crowd_as_object:
            self.ledger.mend(UNCROWDED, where)
            return 0
        if type(value) is not int or value not in (0, 1):
            self.ledger.mend(CROWDS, where)
        return int(bool(crowd))

    def _box(self, entry: dict, shape: Shape | None, where: object) -> list | None:
        """[x, y, width, height], the entry's own list if it is sound; None if there is none."""
        box = _numbers(entry.get('bbox'))
        if shape and box and min(box[2:]) > 0:
            self.boxes.compare(box, shape.bounds, where)
        if box is None or min(box[2:]) < 1:
            of_shape = _box_of(shape) if shape else [0, 0, 0, 0]
            if min(of_shape[2:]) >= 1:
                self.ledger.mend(BOXES_OF_SHAPES, where)
                return of_shape
            return box if box and min(box[2:]) > 0 else None
        if box is not entry['bbox']:
            self.ledger.mend(BOXES_OF_STRINGS, where)
        return box

    def _in_image(self, box: list, image: Listed, where: object) -> list | None:
        """The part of a box in the image; None if there is none. Rounding is left as it is."""
        if not image.width or not image.height:
            return box
        self.boxes.add(box, image.width, image.height, where)
        x, y, w, h = box
        x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, image.width), min(y + h, image.height)
        if x2 <= x1 or y2 <= y1:
            return None
        if max(x1 - x, y1 - y, x + w - x2, y + h - y2) <= ROUNDING:
            return box
        self.ledger.mend(CLIPPED, where)
        return [x1, y1, x2 - x1, y2 - y1]

    def _mask(
        self,
        entry: dict,
        box: list,
        shape: Shape | None,
        reason: str,
        image: Listed,
        crowd: int,
        where: object,
    ) -> dict:
        """What has to change so that the object has a mask, or is a region to ignore."""
        if shape:
            for kind in shape.mended:
                self.ledger.mend(kind, where)
            same = shape.value is entry['segmentation']
            return {} if same else {'segmentation': shape.value}
        if self.wanted.masks_from_boxes and not crowd:
            self.ledger.mend(BOXED, where)
            return {'segmentation': rectangle(box)}
        width, height = image.width or box[0] + box[2], image.height or box[1] + box[3]
        if not crowd:
            self.without_mask[reason] += 1
            self.ledger.leave_out(NO_MASK, where)
        return {'segmentation': mask_of_box(box, int(width), int(height)), 'iscrowd': 1}

    def _area(self, entry: dict, box: list, shape: Shape | None, where: object) -> dict:
        area = number(entry.get('area'))
        if area is not None and area > 0 and not isinstance(entry['area'], str):
            return {}
        self.ledger.mend(AREAS, where)
        if area is None or area <= 0:
            area = (area_of(shape) if shape else 0) or box[2] * box[3]
        return {'area': area}

    def _number(self) -> None:
        """Give all objects new ids if one of them has none that pycocotools can use."""
        seen: set[int] = set()
        for position, entry in enumerate(self.entries):
            i = entry.get('id')
            if type(i) is not int or not 0 < abs(i) <= LARGEST_ID or i in seen:
                self.ledger.mend(IDS, i if 'id' in entry else f'number {position}')
            else:
                seen.add(i)
        if IDS in self.ledger.mended:
            self.changed = True
            for i, entry in enumerate(self.entries, 1):
                entry['id'] = i


def reaches(entries: list) -> dict[int | str, tuple[float, float]]:
    """By the key of an image, how far right and down its boxes and polygons reach."""
    found: dict[int | str, tuple[float, float]] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        box, shape = _numbers(entry.get('bbox')), read_shape(entry.get('segmentation'), 0, 0)
        if isinstance(shape, Shape) and isinstance(shape.value, list):
            x, y = shape.bounds[2:]
        elif box:
            x, y = box[0] + box[2], box[1] + box[3]
        else:
            continue
        k = key(entry.get('image_id'))
        far = found.get(k, (0, 0))
        found[k] = (max(far[0], x), max(far[1], y))
    return found


def _numbers(value: object) -> list | None:
    """Four numbers; the list itself if it holds them."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    if set(map(type, value)) <= NUMBERS and math.isfinite(sum(value)):
        return value
    box = [number(v) for v in value]
    return None if None in box else box


def _box_of(shape: Shape) -> list:
    x1, y1, x2, y2 = shape.bounds
    return [x1, y1, x2 - x1, y2 - y1]


def _turned(box: list, move: Callable) -> list:
    (x1, y1), (x2, y2) = move(box[0], box[1]), move(box[0] + box[2], box[1] + box[3])
    return [min(x1, x2), min(y1, y2), abs(x2 - x1), abs(y2 - y1)]
