# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The entries of "annotations": what each object refers to, its box and its mask."""

from __future__ import annotations

from collections import Counter

from ..cache import Progress
from ..header import SIDE
from ..ledger import Ledger, Tally
from ..values import LARGEST_ID, number
from .boxes import Boxes
from .geometry import (
    Shape,
    area_of,
    box_of,
    four_numbers,
    mask_of_box,
    read_shape,
    rectangle,
    turned,
    turned_box,
)
from .images import ROUNDING, Listed, extent, turned_point
from .references import References
from .wanted import Wanted

# Kinds of the ledger. Mended:
REFERENCES = 'objects whose "image_id" or "category_id" is no integer, made integers'
CROWDS = 'values of "iscrowd" that are missing or neither 0 nor 1, set'
IGNORED = 'objects marked "ignore", made regions to ignore (iscrowd=1)'
BOXES_OF_SHAPES = 'boxes that are missing or unusable, taken from the segmentation'
BOXES_OF_STRINGS = 'boxes of strings, made numbers'
BACKWARDS = 'boxes drawn from right to left or upwards, turned round'
CLIPPED = 'boxes partly outside the image, cut at its border'
AREAS = 'values of "area" that are missing or not positive, computed'
TURNED = 'objects turned by the EXIF orientation of their image'
UNCROWDED = 'objects with iscrowd=1, taken as ordinary ones (crowd_as_object)'
BOXED = 'objects without a mask, whose box was taken (masks_from_boxes)'
IDS = (
    'ids of objects that are 0, missing, not unique or no integers: numbered from 1, because '
    'pycocotools takes id 0 for "no match"'
)
# Left out:
BROKEN = 'entries of "annotations" that are no objects'
NO_IMAGE = 'objects whose "image_id" is no "id" of "images"'
NO_CATEGORY = 'objects whose "category_id" is no "id" of "categories"'
NO_BOX = 'objects without a usable box or segmentation'
NOT_FOUR = 'objects whose "bbox" is not [x, y, width, height], without a usable segmentation'
NO_EXTENT = 'objects whose box has no width or height, without a usable segmentation'
OUTSIDE = 'objects outside their image'
NO_MASK = (
    'objects without a mask, made regions to ignore; own_data.masks_from_boxes=True takes their '
    'boxes as masks'
)
SMALL = 'objects under one pixel, which mmdet does not learn'
# Noted:
DOUBLES = 'objects with the class and the box of another one in the same image'

WORDS = {'true': 1, 'yes': 1, 'false': 0, 'no': 0}  # for iscrowd
# Single objects are listed twice in COCO too; a larger share comes from joined exports. Our choice.
MANY_DOUBLES = 0.01


class Objects:
    """Checks all objects, one field after the other, and changes them in place where it must.

    Attributes:
        entries: the sound objects.
        changed: whether one of them is not as it was listed.
        learnt: by id of the category, how many objects a model learns.
        learnt_on: by id of the image, how many of these are of the classes.
        present: ids of the categories that have objects, learnt or not.
        crowds: those that are regions to ignore.
        labelled: ids of images that mmdet does not take for empty.
        boxes: facts about all boxes of the file.
        without_mask: why objects have no mask, and how many, if masks are wanted.
    """

    def __init__(
        self,
        images: dict[int | str, Listed],
        categories: dict[int | str, int],
        classes: set[int],
        wanted: Wanted,
        ledger: Ledger,
    ):
        self.images = References('image_id', images)
        self.categories = References('category_id', categories)
        self.classes, self.wanted, self.ledger = classes, wanted, ledger
        self.entries: list[dict] = []
        self.changed = False
        self.learnt: Counter[int] = Counter()
        self.learnt_on: Counter[int] = Counter()
        self.present: set[int] = set()
        self.labelled: set[int] = set()
        self.crowds = Tally()
        self.boxes = Boxes()
        self.without_mask: Counter[str] = Counter()
        self._seen: set[int] = set()
        self._doubles = Tally()

    def add_all(self, entries: list) -> None:
        progress = Progress('objects checked', len(entries))
        for position, entry in enumerate(entries):
            if position % 10_000 == 0:
                progress.show(position)
            sound = self._sound(position, entry)
            if sound is not None:
                self.entries.append(sound)
        self._number()
        if self._doubles.count > MANY_DOUBLES * len(self.entries):
            self.ledger.noted[DOUBLES] = self._doubles

    def _sound(self, position: int, entry: object) -> dict | None:
        """An object, changed where it must be; None if it is left out."""
        if not isinstance(entry, dict):
            return self.ledger.leave_out(BROKEN, f'number {position}')
        where = entry.get('id', f'number {position}')
        image, category = self.images.find(entry), self.categories.find(entry)
        if image is None:
            return self.ledger.leave_out(NO_IMAGE, self.images.named(entry, where))
        if category is None:
            return self.ledger.leave_out(NO_CATEGORY, self.categories.named(entry, where))
        changes = self._references(entry, image.id, category, where)
        crowd = self._crowd(entry, where, changes)
        width, height = (int(v) for v in extent(image.turn, image.width, image.height))
        shape, reason = read_shape(entry.get('segmentation'), width, height), ''
        if isinstance(shape, str):
            shape, reason = None, shape
        box = self._box(entry, shape, (width, height), where)
        if box is None:
            return None
        if image.turn != 1:
            move = turned_point(image.turn, width, height)
            shape, box = shape and turned(shape, move, width, height), turned_box(box, move)
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
        self._count(image.id, category, box, crowd, where)
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

    def _crowd(self, entry: dict, where: object, changes: dict) -> int:
        """1 for a region to ignore, else 0; ``changes`` gets what has to change for it."""
        value, ignore = entry.get('iscrowd'), entry.get('ignore')
        crowd = int(bool(_truth(value)))
        if ignore:
            changes['ignore'] = 0  # mmdet would drop the object, so that it was background
            if _truth(ignore) and not crowd:
                self.ledger.mend(IGNORED, where)
                changes['iscrowd'] = 1
                return 1
        if crowd and self.wanted.crowd_as_object:
            self.ledger.mend(UNCROWDED, where)
            crowd = 0
        elif type(value) is not int or value not in (0, 1):
            self.ledger.mend(CROWDS, where)
        if type(value) is not int or value != crowd:
            changes['iscrowd'] = crowd
        return crowd

    def _box(self, entry: dict, shape: Shape | None, size: tuple, where: object) -> list | None:
        """[x, y, width, height], the entry's own list if it is sound; None if it is left out."""
        value = entry.get('bbox')
        box = four_numbers(value)
        of_shape = box_of(shape) if shape else [0, 0, 0, 0]
        if box is None:
            if shape:
                self.boxes.add(of_shape, None, size, where)
                self.ledger.mend(BOXES_OF_SHAPES, where)
                return of_shape
            return self.ledger.leave_out(NOT_FOUR if value else NO_BOX, where)
        x, y, w, h = box
        self.boxes.add(box, None if shape else number(entry.get('area')), size, where)
        if shape and w > 0 and h > 0:
            self.boxes.compare(box, shape.bounds, where)
        if w >= 1 and h >= 1:
            if box is not value:
                self.ledger.mend(BOXES_OF_STRINGS, where)
            return box
        if min(of_shape[2:]) >= 1:
            self.ledger.mend(BOXES_OF_SHAPES, where)
            return of_shape
        if w > 0 and h > 0:
            return box
        left, top = min(x, x + w), min(y, y + h)
        if min(abs(w), abs(h)) >= 1 and min(left, top) >= -ROUNDING:
            self.ledger.mend(BACKWARDS, where)
            return [left, top, abs(w), abs(h)]
        return self.ledger.leave_out(NO_EXTENT, where)

    def _in_image(self, box: list, image: Listed, where: object) -> list | None:
        """The part of a box in the image; None if there is none. Rounding is left as it is."""
        x, y, w, h = box
        if not image.width or not image.height:
            return box if max(abs(x), abs(y), x + w, y + h) <= SIDE else None
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
        if shape and self.wanted.polygons and isinstance(shape.value, dict) and not crowd:
            shape, reason = None, 'run lengths, which need poly2mask=True in LoadAnnotations'
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

    def _count(self, image: int, category: int, box: list, crowd: int, where: object) -> None:
        self.present.add(category)
        if category in self.classes:
            self.labelled.add(image)
        if crowd:
            self.crowds.add(where)
            return
        mark = hash((image, category, *box))
        if mark in self._seen:
            self._doubles.add(where)
        self._seen.add(mark)
        if self.wanted.learnt and min(box[2:]) < 1:
            self.ledger.leave_out(SMALL, where)
        else:
            self.learnt[category] += 1
            self.learnt_on[image] += category in self.classes

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


def _truth(value: object) -> float | bool | None:
    """What a flag says, in numbers or words; None if nothing."""
    word = value.strip().lower() if isinstance(value, str) else value
    return word if isinstance(word, bool) else WORDS.get(str(word), number(word))
