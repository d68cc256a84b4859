# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Polygons that go through the middles of pixels, as cv2.findContours gives them, become masks.

Read as lines between points, as COCO does, they lose half a pixel on each side: of nuclei of 10
to 30 pixels, 16 % of the area, and a fifth of the IoU. Programs that make polygons from masks
write them; people who click do not.
"""

from __future__ import annotations

import cv2
import numpy as np
from pycocotools import mask as rle_api

from .export import Export, rle_of

# Our choices: how far a vertex may be from a whole number, in pixels and in parts of the image, of
# which YOLO rounds to five digits; and the share of vertices that must be whole, and of edges that
# must be straight or diagonal, as all of a contour are. Of edges that people draw a tenth is.
NEAR, ROUNDING, WHOLE, CHAIN = 0.02, 1e-5, 0.99, 0.95


def fill_contours(export: Export, choice: str) -> None:
    """Replace polygons by run lengths of the pixels in them and on their edge.

    Args:
        choice: 'pixels' for all polygons, 'points' for none, 'auto' if they are contours.
    """
    found = [
        (image, entry)
        for part in export.parts
        for image, entry in _with_polygons(part.content)
        if image['width'] and image['height']
    ]
    if choice == 'points' or not found or (choice == 'auto' and not _are_contours(found)):
        return
    for image, entry in found:
        mask = np.zeros((image['height'], image['width']), np.uint8)
        for points in entry['segmentation']:
            corners = np.round(np.array(points).reshape(-1, 2)).astype(np.int32)
            cv2.fillPoly(mask, [corners], 1)
        if mask.any():
            old, rle = _bounds(entry['segmentation']), rle_of(mask)
            if np.allclose(entry['bbox'], old, atol=1e-3):  # else the export states another one
                entry['bbox'] = [float(v) for v in rle_api.toBbox(rle)]
            entry.update(segmentation=rle, area=float(mask.sum()))
    why = 'as --polygons says' if choice == 'pixels' else 'as their edges show'
    export.notes.append(
        f'the polygons name the outermost pixels of the objects ({why}), so that these belong to '
        'the masks'
    )


def _with_polygons(content: dict):
    images = {image['id']: image for image in content['images']}
    for entry in content['annotations']:
        if isinstance(entry.get('segmentation'), list):
            yield images[entry['image_id']], entry


def _bounds(polygons: list[list[float]]) -> list[float]:
    xs = [v for points in polygons for v in points[::2]]
    ys = [v for points in polygons for v in points[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _are_contours(found: list[tuple[dict, dict]]) -> bool:
    """Whether the vertices are whole numbers, and the edges go along rows, columns, diagonals."""
    vertices = whole = edges = chain = 0
    for image, entry in found:
        near = NEAR + ROUNDING * max(image['width'], image['height'])
        for points in entry['segmentation']:
            corners = np.array(points).reshape(-1, 2)
            rounded = np.round(corners)
            vertices += len(corners)
            whole += int((np.abs(corners - rounded).max(axis=1) <= near).sum())
            dx, dy = np.abs(np.roll(rounded, -1, axis=0) - rounded).T
            straight, diagonal = (dx == 0) | (dy == 0), dx == dy
            if not straight.all():  # a rectangle tells nothing
                edges += len(corners)
                chain += int((straight | diagonal).sum())
    return bool(edges) and whole >= WHOLE * vertices and chain >= CHAIN * edges
