# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Things in a split that are often mistakes of labelling or of conversion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .duplicates import duplicates
from .listing import Listing
from .regions import Regions

# Our choices.
ALIKE = 0.9  # overlap (IoU) of boxes that are almost the same
UNLIKE = 0.8  # overlap of a box with its mask's bounds, below which they do not belong together
TINY = 4  # pixels of the input: the stride of ConvNeXt's first feature map
FULL = 0.95  # part of the image that a box fills
LONG = 10  # ratio of the sides
ONE_CLASS, MOST_IGNORED = 0.999, 0.5  # parts of the pixels of a map


@dataclass
class Suspicion:
    """A kind of suspicious thing, and where it is found.

    Attributes:
        what: its name, in plural.
        why: what it may mean, and what to look for.
        total: of how many.
        objects: indices of objects, or
        images: indices of images.
        notes: words for a caption, by index.
        is_sorted: whether the first ones are the worst.
    """

    what: str
    why: str
    total: int
    objects: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    notes: dict[int, str] = field(default_factory=dict)
    is_sorted: bool = False

    @property
    def count(self) -> int:
        return len(self.objects) + len(self.images)


def suspicions(listing: Listing, scale: float) -> Iterator[Suspicion]:
    """What the annotations of a split show; kinds that are not found are left out.

    Args:
        scale: by which the pipeline resizes images.
    """
    for found in (*_of_objects(listing, scale), *_of_images(listing)):
        if found.count:
            yield found


def _of_objects(listing: Listing, scale: float) -> Iterator[Suspicion]:
    chosen = listing.objects
    boxes, total = listing.boxes[chosen], len(chosen)
    sizes = listing.sizes[listing.images[chosen]]
    first, second, overlap = pairs_alike(listing.images[chosen], boxes)
    same = listing.labels[chosen[first]] == listing.labels[chosen[second]]
    for is_same, what, why in (
        (True, 'boxes of the same class on top of each other', 'one object labelled twice'),
        (False, 'boxes of different classes on top of each other', 'one of the classes is wrong'),
    ):
        mine = np.flatnonzero(same == is_same)
        notes = {}
        for pair in mine:
            one, other = chosen[first[pair]], chosen[second[pair]]
            names = [listing.split.classes[listing.labels[i]] for i in (one, other)]
            notes[int(one)] = f'{" and ".join(dict.fromkeys(names))}, IoU {overlap[pair]:.2f}'
        why = f'IoU of {ALIKE} or more: {why}?'
        yield Suspicion(what, why, total, objects=list(notes), notes=notes)
    around = iou(boxes, listing.bounds[chosen])
    wrong = np.flatnonzero(around < UNLIKE)  # nan, without a mask, is not below
    yield Suspicion(
        'boxes that do not fit their mask',
        f'IoU with the box around the mask (white) below {UNLIKE}: which of both is right?',
        total,
        objects=chosen[wrong[np.argsort(around[wrong])]].tolist(),
        notes={int(chosen[i]): f'IoU {around[i]:.2f}' for i in wrong},
        is_sorted=True,
    )
    extents = boxes[:, 2:] - boxes[:, :2]
    whole = _fills(boxes, sizes)
    yield Suspicion(
        'boxes that fill their image',
        f'{FULL:.0%} of it or more: a label of the image rather than of an object?',
        total,
        objects=chosen[whole].tolist(),
    )
    least = extents.min(axis=1)
    tiny = np.flatnonzero(least * scale < TINY)
    yield Suspicion(
        'tiny objects',
        f'a side of less than {TINY} pixels as the model gets them (images are resized by '
        f'{scale:.2f}): slips of the mouse, or too small to learn; a larger image size helps',
        total,
        objects=chosen[tiny[np.argsort(least[tiny], kind='stable')]].tolist(),
        is_sorted=True,
    )
    ratio = extents.max(axis=1) / np.maximum(least, 1e-3)
    long = np.flatnonzero((ratio > LONG) & (least * scale >= TINY))
    yield Suspicion(
        'very long boxes',
        f'one side more than {LONG} times the other: slips, or shapes that need other anchors',
        total,
        objects=chosen[long[np.argsort(-ratio[long], kind='stable')]].tolist(),
        is_sorted=True,
    )


def _fills(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return sizes.all(axis=1) & (areas >= FULL * np.prod(sizes, axis=1))


def _of_images(listing: Listing) -> Iterator[Suspicion]:
    total = len(listing.files)
    if listing.has_objects:
        empty = np.flatnonzero(listing.counts == 0)
        dropped = int(listing.left_out[empty].sum())
        way = f'{dropped} of them are left out of the training' if dropped else 'background'
        yield Suspicion(
            'images without objects',
            f'forgotten to label? Otherwise fine: {way}',
            total,
            images=empty.tolist(),
        )
    rotated = np.flatnonzero(listing.turned > 1)
    yield Suspicion(
        'images that are turned by EXIF when they are loaded',
        'do their labels fit the turned image? If not: own_data.apply_exif=True for objects, '
        'own_data.ignore_exif=True for label maps',
        total,
        images=rotated.tolist(),
        notes={int(i): f'orientation {listing.turned[i]}' for i in rotated},
    )


def suspicious_maps(listing: Listing, regions: Regions) -> Iterator[Suspicion]:
    """What label maps show."""
    total, area = len(regions.maps), np.maximum(regions.pixels.sum(axis=1), 1)
    most = regions.pixels[:, :-1].max(axis=1, initial=0) / area
    ignored = regions.pixels[:, -1] / area
    for what, why, mine in (
        ('label maps of a single class', 'nothing else in the image?', most > ONE_CLASS),
        (
            'label maps that are mostly ignored',
            f'more than {MOST_IGNORED:.0%} of the pixels have no class: are all ids listed?',
            ignored > MOST_IGNORED,
        ),
    ):
        if mine.any():
            yield Suspicion(what, why, total, images=regions.maps[mine].tolist())


def same_images(
    listing: Listing, others: dict[str, list[str]]
) -> tuple[list[Suspicion], list[list[str]]]:
    """Images that are twice in the split, or in another one too; and all groups of files.

    Args:
        others: the files of the other splits, by name.
    """
    own = listing.split.name
    files = {own: listing.files, **others}
    groups = duplicates(files)
    within, across, notes = [], [], {}
    for group in groups:
        mine = [index for split, index in group if split == own]
        elsewhere = [(split, index) for split, index in group if split != own]
        if mine and elsewhere:
            split, index = elsewhere[0]
            across += mine
            notes |= dict.fromkeys(mine, f'= {files[split][index].rpartition("/")[2]} of {split}')
        if len(mine) > 1:
            within += mine[1:]
            notes |= {i: f'= {listing.name(mine[0])}' for i in mine[1:] if i not in notes}
    total = len(listing.files)
    found = [
        Suspicion(
            f'images of {own} that are in {" or ".join(others) or "another split"} too',
            'the same bytes: what is measured on them was learnt; results look better than they '
            'are',
            total,
            images=across,
            notes=notes,
        ),
        Suspicion(
            f'images that are in {own} more than once',
            'the same bytes: do their labels agree?',
            total,
            images=within,
            notes=notes,
        ),
    ]
    named = [[files[split][index] for split, index in group] for group in groups]
    return [one for one in found if one.count], named


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) overlap of each of N boxes with the other of the same row; nan where one is nan."""
    sides = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    both = np.prod(np.maximum(sides, 0), axis=1)
    areas = [np.prod(one[:, 2:] - one[:, :2], axis=1) for one in (boxes, others)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-6)


def pairs_alike(images: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of boxes of an image with an IoU of at least :data:`ALIKE`: both indices, the IoU.

    Sorted by their left edge, such boxes are near each other: the edges differ by less than
    1 / ALIKE - 1 of the width. Each box is compared with its next neighbour, then with the one
    after it, until all that follow are too far away.
    """
    order = np.lexsort((boxes[:, 0], images))
    images, boxes = images[order], boxes[order]
    reach = boxes[:, 0] + (1 / ALIKE - 1) * (boxes[:, 2] - boxes[:, 0])
    pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    left = np.arange(len(boxes))
    step = 0
    while len(left):
        step += 1
        left = left[left + step < len(boxes)]
        right = left + step
        near = (images[left] == images[right]) & (boxes[right, 0] <= reach[left])
        left, right = left[near], right[near]
        overlap = iou(boxes[left], boxes[right])
        found = overlap >= ALIKE
        pairs.append((order[left[found]], order[right[found]], overlap[found]))
    first, second, overlaps = zip(*pairs) if pairs else ([], [], [])
    if not pairs:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    return np.concatenate(first), np.concatenate(second), np.concatenate(overlaps)
