# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The sound form of a COCO file, with all that was mended, left out or refused."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..files import Files
from ..images import ImageKind
from ..ledger import Ledger
from .categories import sound_categories
from .images import sound_images
from .objects import NO_MASK, Objects, reaches
from .read import BOM, read_coco
from .wanted import Wanted

CROWD, MASKS, NOTHING = 'crowd', 'masks', 'no_objects'  # names of the refusals
CROWDED = 'regions to ignore (iscrowd=1) are more than a tenth of all objects'
MANY = 0.1  # the share from which on they are worth a warning; our choice


@dataclass
class Facts:
    """Counts of a file, after it was made sound."""

    images: int = 0
    objects: int = 0  # listed
    crowds: int = 0
    classes: dict[str, int] = field(default_factory=dict)  # learnt objects of each class
    others: int = 0  # objects of categories that are no classes
    empty_images: int = 0  # without objects of the classes
    small_images: int = 0  # with a side under min_size
    small_objects: int = 0  # on these
    kinds: list[ImageKind] = field(default_factory=list)  # of the image files

    def __post_init__(self) -> None:
        self.kinds = [ImageKind(*kind) for kind in self.kinds]  # lists, if they come from JSON

    @property
    def learnt(self) -> int:
        return sum(self.classes.values())


class Sound(NamedTuple):
    """The content in sound form, what was noticed, and whether it has to be used.

    ``needed`` is False if mmdet and pycocotools read the listed file with the same result.
    """

    content: dict
    facts: Facts
    ledger: Ledger
    needed: bool = False
    folders: list[str] = []  # of the images


def make_sound(file: Path, wanted: Wanted, on_disk: bool = True) -> Sound:
    """Read a COCO file and check each of its fields.

    Args:
        on_disk: whether the images can be looked at.
    """
    collects = gc.isenabled()
    gc.disable()  # millions of objects that hold each other in no circle: three times as fast
    try:
        return _make_sound(file, wanted, on_disk)
    finally:
        gc.enable() if collects else None


def _make_sound(file: Path, wanted: Wanted, on_disk: bool) -> Sound:
    ledger = Ledger()
    content = read_coco(file, ledger, unlabelled=not (wanted.learnt or wanted.measured))
    if content is None:
        return Sound({}, Facts(), ledger)
    listed = content['annotations']
    files = Files(wanted.folder)
    entries, images, kinds = sound_images(
        content['images'],
        files,
        wanted,
        ledger,
        reach=partial(reaches, listed),
        on_disk=on_disk,
    )
    categories, ids = sound_categories(content['categories'], wanted.classes, ledger)
    if not images or not ids:
        return Sound({}, Facts(), ledger)
    objects = Objects(images, ids, wanted, ledger)
    objects.add_all(listed)
    facts = _facts(entries, categories, objects, len(listed), wanted)
    facts.kinds = kinds
    if wanted.learnt or wanted.measured:
        _judge(facts, objects, ledger)
    sound = {**content, 'images': entries, 'annotations': objects.entries, 'categories': categories}
    changed = (
        objects.changed
        or BOM in ledger.mended
        or not all(_same(sound[key], content[key]) for key in ('images', 'categories'))
    )
    # What mmdet leaves out when it learns is a miss to pycocotools.
    lost = wanted.measured and len(objects.entries) < len(listed)
    return Sound(sound, facts, ledger, changed or lost, files.folders)


def _same(new: list, old: list) -> bool:
    return len(new) == len(old) and all(a is b for a, b in zip(new, old))


def _facts(
    entries: list[dict], categories: list[dict], objects: Objects, listed: int, wanted: Wanted
) -> Facts:
    ids = {category['name']: category['id'] for category in categories}
    small = [
        entry['id']
        for entry in entries
        if wanted.min_size and min(entry.get('width', 0), entry.get('height', 0)) < wanted.min_size
    ]
    return Facts(
        images=len(entries),
        objects=listed,
        crowds=objects.crowds,
        classes={name: objects.learnt[ids[name]] for name in wanted.classes if name in ids},
        others=sum(n for i, n in objects.learnt.items() if i not in map(ids.get, wanted.classes)),
        empty_images=sum(not objects.by_image[entry['id']] for entry in entries),
        small_images=len(small),
        small_objects=sum(objects.by_image[i] for i in small),
    )


def _judge(facts: Facts, objects: Objects, ledger: Ledger) -> None:
    """What is wrong with the file as a whole."""
    objects.boxes.judge(ledger)
    kept = len(objects.entries)
    without = objects.without_mask.total()
    if kept and without and without + facts.crowds - without == kept and not facts.learnt:
        reasons = ', '.join(f'{n} {reason}' for reason, n in objects.without_mask.items())
        ledger.refuse(
            MASKS,
            f'none of {facts.objects} objects has a mask ("segmentation") that can be read '
            f'({reasons}), but this recipe learns masks; use the boxes alone with '
            'configs/faster_rcnn/faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py, or take '
            'them as masks with own_data.masks_from_boxes=True',
        )
        ledger.left_out.pop(NO_MASK)
    elif kept and facts.crowds == kept:
        ledger.refuse(
            CROWD,
            f'all {kept} objects have iscrowd=1, which means regions to ignore, so nothing would '
            "be learnt; if they are single objects, as CVAT's brush writes them, set "
            'own_data.crowd_as_object=True',
        )
    elif facts.crowds > MANY * kept:
        ledger.note(CROWDED, f'{facts.crowds} of {kept}')
    elif not facts.learnt and not ledger.refused:
        causes = ledger.causes() or 'there are no objects'
        ledger.refuse(NOTHING, f'none of {facts.objects} objects is left: {causes}')
