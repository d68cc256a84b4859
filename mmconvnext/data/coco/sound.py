# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The sound form of a COCO file, with all that was mended, left out or refused."""

from __future__ import annotations

import contextlib
import gc
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..files import Files
from ..images import ImageKind
from ..ledger import FIRST, Ledger, Tally
from ..values import number
from .categories import CHECK as CATEGORIES
from .categories import sound_categories
from .geometry import reaches
from .images import BAD, ENTRY, MISSING, sound_images
from .objects import IGNORED, NO_MASK, Objects
from .read import BOM, read_coco
from .wanted import Wanted

CROWD, MASKS, NOTHING = 'crowd', 'masks', 'no_objects'  # names of the refusals
EMPTY = 'images without objects of the classes, which are not learnt (filter_empty_gt)'
SMALL_IMAGES = 'images that are not learnt because a side is under'
MIN_SIZE = ' (filter_cfg.min_size of the dataset)'
OTHERS = 'objects of categories that are no classes, which are background'
CROWDED = (
    'regions to ignore (iscrowd=1), which are not learnt; own_data.crowd_as_object=True takes them '
    'as objects'
)
NOT_LEARNT = 'classes of which all objects are ignored or too small: they cannot be learnt'
BOXES_ONLY = (
    'configs/faster_rcnn/faster-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py (on a CPU: '
    'configs/_base_/faster-rcnn_convnext-atto_cpu.py)'
)
MANY = 0.1  # the share from which on they are worth a warning; our choice


@dataclass
class Facts:
    """Counts of a file, after it was made sound."""

    images: int = 0
    objects: int = 0  # listed
    crowds: int = 0
    classes: dict[str, int] = field(default_factory=dict)  # learnt objects of each class
    others: dict[str, int] = field(
        default_factory=dict
    )  # objects of categories that are no classes
    images_learnt: int = 0  # without those that the filters of the dataset leave out
    objects_learnt: int = 0  # on these
    pictures: int = 0  # a sum over the images of a hash of id and name, to compare files
    kinds: list[ImageKind] = field(default_factory=list)  # of the image files
    # Longer side, shorter side and name of the image in which they differ most.
    thinnest: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kinds = [ImageKind(*kind) for kind in self.kinds]  # lists, if they come from JSON

    @property
    def usable(self) -> int:
        """Objects of the classes, but for regions to ignore."""
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
    suffixes: list[str] = []  # of the images, folded


def make_sound(file: Path, wanted: Wanted) -> Sound:
    """Read a COCO file and check each of its fields."""
    with _no_collection():
        ledger = Ledger()
        content = read_coco(file, ledger, unlabelled=not (wanted.learnt or wanted.measured))
        if content is None:
            return Sound({}, Facts(), ledger)
        return sound_content(content, wanted, ledger)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    collects = gc.isenabled()
    gc.disable()  # millions of objects that hold each other in no circle: three times as fast
    try:
        yield
    finally:
        if collects:
            gc.enable()


def sound_content(content: dict, wanted: Wanted, ledger: Ledger) -> Sound:
    """The same for the content of such a file; its objects are changed in place."""
    listed = content['annotations']
    files = Files(wanted.folder, wanted.strip_folders)
    entries, images, kinds = sound_images(
        content['images'],
        files,
        wanted,
        ledger,
        reach=partial(reaches, listed),
    )
    categories, ids = sound_categories(content['categories'], wanted.classes, ledger)
    if any(refusal.check in (ENTRY, CATEGORIES) for refusal in ledger.refused):
        return Sound({}, Facts(), ledger)
    named = {category['name']: category['id'] for category in categories}
    classes = {named[name] for name in wanted.classes if name in named}
    objects = Objects(images, ids, classes, wanted, ledger)
    objects.add_all(listed)
    facts = _facts(entries, named, objects, len(listed), ledger)
    facts.kinds = kinds
    if wanted.learnt or wanted.measured:
        _judge(facts, objects, ledger)
    sound = {**content, 'images': entries, 'annotations': objects.entries, 'categories': categories}
    changed = (
        objects.changed
        or len(objects.entries) < len(listed)
        or BOM in ledger.mended
        or not all(_same(sound[key], content[key]) for key in ('images', 'categories'))
    )
    return Sound(sound, facts, ledger, changed, files.folders, sorted(files.suffixes))


def _same(new: list, old: list) -> bool:
    return len(new) == len(old) and all(a is b for a, b in zip(new, old))


def _facts(
    entries: list[dict], named: dict[str, int], objects: Objects, listed: int, ledger: Ledger
) -> Facts:
    """``named`` has the ids of the categories."""
    wanted = objects.wanted
    counts = {name: objects.learnt[i] for name, i in named.items()}
    classes = {name: counts[name] for name in wanted.classes if name in named}
    for name, count in classes.items():
        if not count and named[name] in objects.present:
            ledger.note(NOT_LEARNT, name)
    others = {name: n for name, n in counts.items() if n and name not in classes}
    if others:
        first = [f'{name} {n}' for name, n in others.items()]
        ledger.noted[OTHERS] = Tally(sum(others.values()), first[:FIRST])
    labelled = objects.labelled
    sizes = ((e.get('width'), e.get('height'), e['file_name']) for e in entries)
    # Images that do not exist may have any.
    sides = [(*sorted((w, h)), n) for w, h, n in sizes if type(w) is type(h) is int and w * h > 0]
    short, long, name = max(sides, key=lambda one: one[1] / one[0], default=(1, 1, ''))
    learnt = [entry['id'] for entry in entries if not _filtered(entry, labelled, wanted, ledger)]
    return Facts(
        images=len(entries),
        objects=listed,
        crowds=objects.crowds.count,
        classes=classes,
        others=others,
        images_learnt=len(learnt),
        objects_learnt=sum(objects.learnt_on[i] for i in learnt),
        pictures=sum(_mark(entry) for entry in entries),
        thinnest=[long, short, name],
    )


def _filtered(entry: dict, labelled: set[int], wanted: Wanted, ledger: Ledger) -> bool:
    """Whether the filters of mmdet's dataset leave out an image."""
    if wanted.learnt and wanted.drop_empty and entry['id'] not in labelled:
        ledger.leave_out(EMPTY, entry['file_name'])
    elif min(number(entry.get(side)) or 0 for side in ('width', 'height')) < wanted.min_size:
        ledger.leave_out(f'{SMALL_IMAGES} {wanted.min_size} pixels{MIN_SIZE}', entry['file_name'])
    else:
        return False
    return True


def _mark(entry: dict) -> int:
    """The same for the same image in every file, whatever its folder."""
    text = f'{entry["id"]} {entry["file_name"].replace(chr(92), "/").rpartition("/")[2]}'
    return zlib.crc32(text.encode(errors='replace'))


def _judge(facts: Facts, objects: Objects, ledger: Ledger) -> None:
    """What is wrong with the file as a whole."""
    objects.boxes.judge(ledger)
    objects.categories.judge(ledger)
    if not {MISSING, BAD} & set(ledger.left_out):
        objects.images.judge(ledger)
    kept, unmasked = len(objects.entries), objects.without_mask
    listed_crowds = facts.crowds - unmasked.total()
    if facts.objects_learnt:
        if listed_crowds > MANY * kept:
            ledger.noted[CROWDED] = objects.crowds
    elif unmasked and facts.crowds == kept:
        reasons = ', '.join(f'{n} {reason}' for reason, n in unmasked.items())
        also = f', and {listed_crowds} are regions to ignore (iscrowd=1)' * (listed_crowds > 0)
        ledger.refuse(
            MASKS,
            f'none of {facts.objects} objects has a mask ("segmentation") that can be read '
            f'({reasons}{also}), but this recipe uses masks; use the boxes alone with {BOXES_ONLY},'
            ' or take them as masks with own_data.masks_from_boxes=True. If no head of the model '
            'learns masks, set with_mask=False in LoadAnnotations',
        )
        ledger.left_out.pop(NO_MASK)
    elif kept and facts.crowds == kept:
        ignored = ledger.mended[IGNORED].count if IGNORED in ledger.mended else 0
        crowds = "if they are single objects, as CVAT's brush writes them, set "
        crowds += 'own_data.crowd_as_object=True'
        marked = f'{ignored} are marked "ignore": remove that key to learn them'
        ways = [crowds] * (ignored < kept) + [marked] * (ignored > 0)
        ledger.refuse(
            CROWD,
            f'all {kept} objects have iscrowd=1, which means regions to ignore, so nothing would '
            f'be learnt; {"; ".join(ways)}',
        )
    elif len(facts.classes) < len(objects.wanted.classes):
        pass  # the check of the classes tells which names do not match
    elif all(refusal.check in objects.wanted.passed for refusal in ledger.refused):
        causes = [ledger.causes(but=EMPTY)] if ledger.left_out else []
        if facts.others:
            causes.append(
                f'{sum(facts.others.values())} are of categories that are no classes; to learn '
                f'them, write classes={list(facts.others)}'
            )
        why = '; '.join(filter(None, causes)) or 'there are no objects'
        ledger.refuse(NOTHING, f'none of {facts.objects} objects is left: {why}')
