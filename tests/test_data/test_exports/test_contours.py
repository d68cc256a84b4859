# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/contours.py: polygons of findContours are masks, those that people draw are not."""

import cv2
import numpy as np
import pytest
from export_files import objects, ready, yolo

WIDTH, HEIGHT = 64, 48


def blob() -> np.ndarray:
    """A mask (H, W) of two discs that overlap."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (20, 20), 9, 1, -1)
    cv2.circle(mask, (30, 24), 7, 1, -1)
    return mask


def line(points: np.ndarray) -> str:
    values = (points.reshape(-1, 2) / (WIDTH, HEIGHT)).ravel()
    return '0 ' + ' '.join(f'{v:.5f}' for v in values) + '\n'


def contour(mask: np.ndarray) -> np.ndarray:
    return cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][0]


def test_contours_give_the_same_masks(tmp_path):
    mask = blob()
    root = yolo(tmp_path / 'a', dict.fromkeys(['1.png', '2.png'], line(contour(mask))))
    facts, out = ready(root)
    ys, xs = np.nonzero(mask)
    box = (xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
    assert objects(out)['1.png'] == [('cat', box, mask.sum())]
    assert any('outermost pixels' in note for note in facts['notes'])


@pytest.mark.parametrize('choice', ['auto', 'pixels', 'points'])
def test_polygons_of_people_are_lines_between_points(tmp_path, choice):
    """Whole numbers alone do not make a contour: some tools round."""
    points = np.array([[10, 5], [33, 9], [41, 30], [17, 38]])
    root = yolo(tmp_path / 'a', dict.fromkeys(['1.png', '2.png'], line(points)))
    facts, out = ready(root, polygons=choice)
    name, box, pixels = objects(out)['1.png'][0]
    grown = choice == 'pixels'
    assert np.allclose(box, (10, 5, 31 + grown, 33 + grown), atol=0.01)
    assert any('outermost pixels' in note for note in facts['notes']) == grown


def test_rectangles_tell_nothing(tmp_path):
    points = np.array([[10, 5], [30, 5], [30, 25], [10, 25]])
    root = yolo(tmp_path / 'a', dict.fromkeys(['1.png', '2.png'], line(points)))
    assert objects(ready(root)[1])['1.png'][0][2] == 400
