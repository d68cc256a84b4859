# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/view.py: sizes, and what is drawn where."""

import numpy as np
import pytest
from dataset_files import CLASSES, COLOURS

from mmconvnext.analysis.dataset.view import View, resized_objects
from mmconvnext.draw import Objects

RED, BLUE, GREY = (250, 0, 0), (0, 0, 250), (128, 128, 128)


def view(height=40, width=60, labels=(0,), masks=True, **changes) -> View:
    """Objects one beside the other, 10 x 6 at (5 + 20 i, 8)."""
    boxes = np.array([[5 + 20 * i, 8, 15 + 20 * i, 14] for i in range(len(labels))], float).reshape(
        -1, 4
    )
    filled = np.zeros((len(labels), height, width), bool)
    for mask, (x1, y1, x2, y2) in zip(filled, boxes.astype(int)):
        mask[y1:y2, x1:x2] = True
    objects = Objects(boxes, np.array(labels), masks=filled if masks else None)
    return View(np.zeros((height, width, 3), np.uint8), objects, **changes)


@pytest.mark.parametrize(
    ('side', 'shape'), [(30, (20, 30)), (60, (40, 60)), (100, (40, 60)), (121, (80, 120))]
)
def test_fitted(side, shape):
    """Shrunk as needed, enlarged by whole factors."""
    small = view()
    fitted = small.fitted(side)
    scale = shape[0] / 40
    assert fitted.image.shape == (*shape, 3) and fitted.objects.masks.shape == (1, *shape)
    assert np.allclose(fitted.objects.boxes, small.objects.boxes * scale)
    x1, y1, x2, y2 = fitted.objects.boxes[0].astype(int)
    assert fitted.objects.masks[0, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].all()
    assert fitted.objects.masks.sum() == pytest.approx(60 * scale**2, rel=0.3)


def test_a_label_map_is_fitted_without_new_values():
    labels = np.zeros((40, 60), np.int64)
    labels[:, 33:] = 255
    fitted = View(np.zeros((40, 60, 3), np.uint8), labels=labels).fitted(31)
    assert fitted.labels.shape == (21, 31) and {*fitted.labels.ravel().tolist()} == {0, 255}


def test_a_thin_image_keeps_a_pixel():
    assert View(np.zeros((2, 1000, 3), np.uint8)).fitted(100).image.shape == (1, 100, 3)


def test_objects_follow_their_image_in_both_directions():
    objects = resized_objects(view().objects, (60, 40), (30, 80))
    assert objects.boxes.tolist() == [[2.5, 16, 7.5, 28]] and objects.masks.shape == (1, 80, 30)
    assert resized_objects(view(labels=()).objects, (60, 40), (30, 80)).masks.shape == (0, 80, 30)
    assert resized_objects(view(masks=False).objects, (60, 40), (30, 80)).masks is None


def has(picture, colour) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def test_colours_of_classes_and_of_regions_to_ignore():
    picture = view(labels=(1, 2)).draw(CLASSES, COLOURS, texts=False)
    assert has(picture, BLUE) and has(picture, GREY) and not has(picture, RED)


def test_a_legend_of_the_classes_of_objects():
    def height(labels, classes=CLASSES):
        return view(200, 3000, labels=labels).draw_titled(classes, COLOURS).shape[0] - 200

    title = height(())
    assert 10 < title < 30
    assert height((0, 1) * 2) == height((0, 1) * 30) > title + 10
    assert height((0,), CLASSES[:1]) > title + 10
    picture = view(labels=(0,)).draw_titled(CLASSES, COLOURS)[40 + title :]
    assert has(picture, RED) and not has(picture, BLUE)


def test_a_label_map_has_a_legend_of_its_classes():
    labels = np.zeros((40, 200), np.uint8)
    labels[:10] = 255
    made = View(np.zeros((40, 200, 3), np.uint8), labels=labels, about='a title')
    picture = made.draw_titled(CLASSES, COLOURS)
    assert has(picture[50:], RED) and not has(picture[50:], BLUE)
    nothing = made._replace(labels=np.full((40, 200), 255, np.uint8))
    assert nothing.draw_titled(CLASSES, COLOURS).shape[0] < picture.shape[0]
