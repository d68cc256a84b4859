# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Tiles of large images, and one result from those of the tiles.

Two tiles see the objects in their overlap twice. What they saw are views of one object if the views
agree where both tiles can see: in the overlap. This joins an object of any size, also one that no
tile sees as a whole. Measures of the whole views, such as the IoU of NMS or the intersection over
the smaller of sahi, join small objects only: two halves of a long object overlap little.
"""

from __future__ import annotations

import numpy as np

from .detections import Detections
from .patch import Patch

Tile = tuple[int, int, int, int]  # x1, y1, x2, y2

AGREE = 0.5  # IoU in the overlap from which two views are one object; our choice
INSIDE = 0.7  # part of a cut view inside of another one, from which it adds nothing; our choice
BORDER = 3  # pixels from the border of a tile within which a view is cut by it; our choice


def tiles_of(height: int, width: int, side: int, overlap: float) -> list[Tile]:
    """Tiles that cover an image, with at least this overlap; one that is smaller if the image is.

    Args:
        side: of a tile, in pixels.
        overlap: of neighbours, as a part of the side.
    """
    return [
        (x, y, min(x + side, width), min(y + side, height))
        for y in _starts(height, side, overlap)
        for x in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    if length <= side:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    count = -(-(length - side) // step) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def join(parts: list[Detections], tiles: list[Tile], height: int, width: int) -> Detections:
    """The detections of an image from those of its tiles."""
    label_map = _join_maps(parts, tiles, height, width)
    moved = [part.moved(*tile[:2]) for part, tile in zip(parts, tiles)]
    views = _Views(moved, tiles, height, width)
    groups = views.groups()
    boxes = [views.box_of(group) for group in groups]
    order = np.argsort([-views.scores[group].max() for group in groups], kind='stable')
    first = [max(group, key=lambda i: views.scores[i]) for group in groups]
    patches = None
    if views.patches is not None:
        patches = [views.patch_of(groups[i]) for i in order]
    return Detections(
        boxes=np.float32([boxes[i] for i in order]).reshape(-1, 4),
        labels=views.labels[[first[i] for i in order]].astype(np.int64),
        scores=views.scores[[first[i] for i in order]],
        patches=patches,
        label_map=label_map,
        has_objects=parts[0].has_objects,
    )


class _Views:
    """All objects of all tiles, in pixels of the image."""

    def __init__(self, parts: list[Detections], tiles: list[Tile], height: int, width: int) -> None:
        self.boxes = np.concatenate([part.boxes for part in parts])
        self.labels = np.concatenate([part.labels for part in parts])
        self.scores = np.concatenate([part.scores for part in parts])
        self.tile = np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts])
        self.tiles = np.array(tiles)
        self.patches = None
        if parts[0].patches is not None:
            self.patches = [patch for part in parts for patch in part.patches]
        self.size = height, width

    def groups(self) -> list[list[int]]:
        """The views that make up each object: the best whole one alone, else all that were cut."""
        alike: dict[int, list[int]] = {}
        for i, j in self._near():
            if self._agree(i, j):
                alike.setdefault(i, []).append(j)
                alike.setdefault(j, []).append(i)
        cut = np.array([self._is_cut(i) for i in range(len(self.labels))], bool)
        used, found = set(), []
        for i in np.lexsort([-self.scores, cut]).tolist():  # whole ones first, then by score
            if i in used:
                continue
            group = [i]
            used.add(i)
            for member in group:  # grows: of a long object each tile sees another part
                others = [one for one in alike.get(member, ()) if one not in used]
                used.update(others)
                if cut[i]:
                    group += others
            found.append(group)
        return self._without_rests(found, cut)

    def box_of(self, group: list[int]) -> np.ndarray:
        boxes = self.boxes[group]
        return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])

    def patch_of(self, group: list[int]) -> Patch:
        whole = self.patches[group[0]]
        for i in group[1:]:
            whole = whole.joined(self.patches[i])
        return whole

    def _near(self):
        """Pairs of one class in two tiles whose boxes overlap."""
        order = np.argsort(self.boxes[:, 0], kind='stable')
        for place, i in enumerate(order):
            for j in order[place + 1 :]:
                if self.boxes[j, 0] > self.boxes[i, 2]:
                    break
                if self.tile[i] != self.tile[j] and self.labels[i] == self.labels[j]:
                    if min(self.boxes[[i, j], 3]) > max(self.boxes[[i, j], 1]):
                        yield (i, j)

    def _agree(self, i: int, j: int) -> bool:
        """Whether two views are the same where both tiles see."""
        first, second = self.tiles[self.tile[i]], self.tiles[self.tile[j]]
        zone = [*np.maximum(first[:2], second[:2]), *np.minimum(first[2:], second[2:])]
        if zone[0] >= zone[2] or zone[1] >= zone[3]:
            return False
        both, one, other = self._areas(i, j, tuple(map(int, zone)))
        return both >= AGREE * max(one + other - both, 1e-9) if both else False

    def _areas(self, i: int, j: int, zone: Tile | None = None) -> tuple[float, float, float]:
        """Of the intersection and of either view, in a zone of the image."""
        if self.patches is None:
            boxes = self.boxes[[i, j]]
            if zone:
                boxes = np.concatenate(
                    [np.maximum(boxes[:, :2], zone[:2]), np.minimum(boxes[:, 2:], zone[2:])], 1
                )
            shared = np.concatenate([boxes[:, :2].max(0), boxes[:, 2:].min(0)])
            areas = [
                float(np.prod(np.maximum(b[2:] - b[:2], 0))) for b in (shared, boxes[0], boxes[1])
            ]
            return tuple(areas)
        if zone is None:
            corners = np.array([self.patches[i].corners, self.patches[j].corners])
            zone = (*map(int, corners[:, :2].min(0)), *map(int, corners[:, 2:].max(0)))
        one, other = self.patches[i].within(*zone), self.patches[j].within(*zone)
        return float((one & other).sum()), float(one.sum()), float(other.sum())

    def _without_rests(self, groups: list[list[int]], cut: np.ndarray) -> list[list[int]]:
        """Without views that a tile has cut and that lie inside of another one of the class."""
        pairs = ((i, j) for pair in self._near() for i, j in (pair, pair[::-1]))
        rests = {i for i, j in pairs if cut[i] and self._lies_inside(i, j)}
        return [group for group in groups if len(group) > 1 or group[0] not in rests]

    def _is_cut(self, i: int) -> bool:
        """Whether a view touches a border of its tile that is not one of the image."""
        x1, y1, x2, y2 = self.tiles[self.tile[i]]
        left, top, right, bottom = self.boxes[i]
        height, width = self.size
        return bool(
            (x1 > 0 and left <= x1 + BORDER)
            or (y1 > 0 and top <= y1 + BORDER)
            or (x2 < width and right >= x2 - BORDER)
            or (y2 < height and bottom >= y2 - BORDER)
        )

    def _lies_inside(self, i: int, j: int) -> bool:
        both, one, other = self._areas(i, j)
        return one <= other and both >= INSIDE * max(one, 1e-9)


def _join_maps(
    parts: list[Detections], tiles: list[Tile], height: int, width: int
) -> np.ndarray | None:
    """Each pixel from the tile in which it is farthest from a border."""
    if parts[0].label_map is None:
        return None
    whole = np.zeros((height, width), parts[0].label_map.dtype)
    columns, rows = ({tile[k] for tile in tiles} for k in (0, 1))
    for part, (x1, y1, x2, y2) in zip(parts, tiles):
        left = _seam(x1, x2, columns) if x1 else 0
        top = _seam(y1, y2, rows) if y1 else 0
        whole[top:y2, left:x2] = part.label_map[top - y1 :, left - x1 :]
    return whole


def _seam(start: int, end: int, starts: set[int]) -> int:
    """The middle of the overlap with the tile before; later tiles overwrite their part."""
    before = max(one for one in starts if one < start)
    return (start + before + end - start) // 2
