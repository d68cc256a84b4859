# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contact sheets: crops of objects of one class side by side, so that a wrong label is seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ...data.cache import Progress
from ...draw import Objects, draw_label_map, draw_objects, with_title
from ...draw.picture import put_texts
from .listing import Listing
from .regions import Regions
from .samples import as_loaded
from .suspects import UNLIKE, iou
from .view import IGNORED

# Our choices: pixels of a cell, how much of the surroundings a crop shows, and how small it gets.
CELL, AROUND, LEAST = 128, 1.6, 24
NAME = 11  # height of the names of files in pixels; our choice
MOST_CROPS = 2500  # of all sheets together, about: a minute on COCO; our choice
WIDEST, NARROWEST = 8, 3  # cells of a row; our choice
MOST_SHEETS = 300  # classes with a sheet, the rarest ones; our choice
WHITE, GREY = (255, 255, 255), 128
MASK = (255, 255, 255)  # colour of the box around a mask that the object's box does not fit


class Strip(NamedTuple):
    """A row of a sheet: what its objects have in common, and their indices."""

    about: str
    objects: list[int]


def choose_strips(of: Listing | Regions, label: int, columns: int, seed: int) -> list[Strip]:
    """Objects of a class: random ones, the smallest, the largest, and the oddest shapes."""
    mine = of.objects[of.labels[of.objects] == label]
    if not len(mine):
        return []
    rng = np.random.default_rng([seed, label])
    if len(mine) <= 2 * columns:
        return [Strip(f'all {len(mine)}', [int(index) for index in mine])]
    width, height = np.maximum(of.boxes[mine, 2:] - of.boxes[mine, :2], 1e-3).T
    area, shape = width * height, np.log(width / height)
    odd = np.abs(shape - np.median(shape))
    strips = [Strip('at random', sorted(rng.permutation(mine)[: 2 * columns].tolist()))]
    for about, order in (('smallest', area), ('largest', -area), ('oddest shapes', -odd)):
        chosen = mine[np.argsort(order, kind='stable')[:columns]]
        strips.append(Strip(about, chosen.tolist()))
    return strips


def sheets(
    listing: Listing, of: Listing | Regions, seed: int
) -> Iterator[tuple[int, list[Strip], np.ndarray]]:
    """A class, what its sheet shows, and the sheet; for the rarest classes if there are many."""
    present = [label for label in np.argsort(of.by_class, kind='stable') if of.by_class[label]]
    present = sorted(int(label) for label in present[:MOST_SHEETS])
    # Five rows: two at random, one of each kind.
    columns = int(np.clip(MOST_CROPS // (5 * max(1, len(present))), NARROWEST, WIDEST))
    strips = {label: choose_strips(of, label, columns, seed) for label in present}
    wanted = {index for rows in strips.values() for strip in rows for index in strip.objects}
    pictures = crops(listing, of, wanted)
    for label, rows in strips.items():
        yield label, rows, _sheet(listing, of, rows, pictures)


def crops(
    listing: Listing, of: Listing | Regions, objects: Iterable[int], cell: int = CELL
) -> dict[int, np.ndarray]:
    """A square picture of each object with its surroundings; each image is loaded once."""
    by_image: dict[int, list[int]] = {}
    for index in objects:
        by_image.setdefault(int(of.images[index]), []).append(index)
    found, progress = {}, Progress('images cropped', len(by_image))
    for done, (image, members) in enumerate(sorted(by_image.items()), 1):
        try:
            view = as_loaded(listing, image, labels=isinstance(of, Regions))
        except Exception:  # a broken file can raise anything; it is among the suspicious things
            view = None
        for index in members:
            found[index] = _crop(listing, of, index, view, cell)
        progress.show(done)
    return found


def _crop(listing: Listing, of: Listing | Regions, index: int, view, cell: int) -> np.ndarray:
    picture = np.full((cell, cell, 3), GREY, np.uint8)
    if view is not None:
        label, box = int(of.labels[index]), of.boxes[index]
        x, y, side = _square(box)
        picture, scale = _cut(view.image, x, y, side, cell), cell / side
        colours = listing.split.colours
        if isinstance(of, Regions):
            labels = _cut(np.where(view.labels == label, label, 255), x, y, side, cell, 255)
            picture = draw_label_map(picture, labels, colours, opacity=0.4)
        else:
            boxes = (np.stack([box, _bounds(of, index)]) - np.tile([x, y], 2)) * scale
            objects = Objects(boxes.round(), np.array([label, len(colours)]))
            names = [*listing.split.classes, IGNORED]
            picture = draw_objects(picture, objects, names, [*colours, MASK], texts=False)
    return picture


def _bounds(of: Listing, index: int) -> np.ndarray:
    """The box around the mask of an object, or its own box if they belong together."""
    own, bounds = of.boxes[[index]], of.bounds[[index]]
    return (bounds if iou(own, bounds)[0] < UNLIKE else own)[0]


def _square(box: np.ndarray) -> tuple[int, int, int]:
    """Left and upper edge, and side, of a square around a box."""
    width, height = box[2] - box[0], box[3] - box[1]
    side = max(round(AROUND * max(width, height)), LEAST)
    middle = (box[:2] + box[2:]) / 2
    x, y = np.round(middle - side / 2).astype(int)
    return int(x), int(y), int(side)


def _cut(
    image: np.ndarray, x: int, y: int, side: int, cell: int, outside: int = GREY
) -> np.ndarray:
    """A square of an image, resized to a cell; what lies outside of the image is filled."""
    height, width = image.shape[:2]
    part = image[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
    square = np.full((side, side, *image.shape[2:]), outside, np.uint8)
    top, left = min(max(0, -y), side), min(max(0, -x), side)
    square[top : top + part.shape[0], left : left + part.shape[1]] = part
    how = cv2.INTER_LINEAR if side < cell else cv2.INTER_AREA
    return cv2.resize(square, (cell, cell), interpolation=how if image.ndim == 3 else 0)


def _sheet(listing: Listing, of: Listing | Regions, rows: Sequence[Strip], pictures: dict):
    """Strips of cells below each other, each with the name of its file."""
    lines = []
    for strip in rows:
        cells = [_named(pictures[i], listing.name(of.images[i])) for i in strip.objects]
        for start in range(0, len(cells), WIDEST):
            line = cells[start : start + WIDEST]
            line += [np.full_like(cells[0], 255)] * (WIDEST - len(line))
            joined = np.concatenate(line, axis=1)
            lines.append(with_title(joined, strip.about) if start == 0 else joined)
    return np.concatenate(lines)


def _named(picture: np.ndarray, name: str) -> np.ndarray:
    """A cell with the end of a file's name below, and a gap to the next one."""
    most = CELL // 7  # letters of this height are about 7 pixels wide
    name = name if len(name) <= most else f'..{name[2 - most :]}'
    cell = np.pad(picture, ((0, NAME + 6), (0, 4), (0, 0)), constant_values=255)
    put_texts(cell, [(0, CELL, name, WHITE)], NAME)
    return cell
