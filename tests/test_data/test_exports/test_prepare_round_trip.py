# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/prepare.py: what supervision exports is read back, pixel for pixel."""

import cv2
import numpy as np
import pytest
from export_files import objects, ready
from PIL import Image

sv = pytest.importorskip('supervision', reason='supervision, of the extra "tools", is missing')
SIZES = {'1.png': (64, 48), '2.png': (80, 56)}


def masks(width, height, count):
    """(count, H, W): an ellipse that leaves the image, discs, and a ring around one of them."""
    found = np.zeros((count, height, width), np.uint8)
    cv2.ellipse(found[0], (6, height - 5), (12, 8), 20, 0, 360, 1, -1)
    for i in range(1, count):
        cv2.circle(found[i], (8 + 13 * i, 10 + 7 * i), 3 + i, 1, -1)
    cv2.circle(found[-1], (8 + 13 * (count - 1), 10 + 7 * (count - 1)), 1, 0, -1)  # a hole
    return found.astype(bool)


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / 'pictures').mkdir()
    paths, detections = [], {}
    for (name, size), count in zip(SIZES.items(), (3, 4)):
        path = str(tmp_path / 'pictures' / name)
        Image.new('RGB', size).save(path)
        found = masks(*size, count)
        classes = np.arange(count) % 2
        boxes = sv.mask_to_xyxy(found).astype(float) + [0, 0, 1, 1]
        detections[path] = sv.Detections(xyxy=boxes, mask=found, class_id=classes)
        paths.append(path)
    return sv.DetectionDataset(classes=['cat', 'dog'], images=paths, annotations=detections)


def expected(dataset):
    found = {}
    for path, one in dataset.annotations.items():
        rows = found.setdefault(path.rpartition('/')[2], [])
        for (x1, y1, x2, y2), mask, i in zip(one.xyxy, one.mask, one.class_id):
            rows.append((dataset.classes[i], (x1, y1, x2 - x1, y2 - y1), int(mask.sum())))
    return found


def export(dataset, kind, root):
    images = str(root / 'images')
    if kind == 'yolo':
        labels, names = str(root / 'labels'), str(root / 'data.yaml')
        dataset.as_yolo(images, labels, names, approximation_percentage=0.0)
    elif kind == 'voc':
        dataset.as_pascal_voc(images, str(root / 'xml'), approximation_percentage=0.0)
    else:
        dataset.as_labelme(images, images)


@pytest.mark.parametrize('kind', ['yolo', 'voc', 'labelme'])
def test_boxes_and_masks_are_the_same(dataset, tmp_path, kind):
    export(dataset, kind, tmp_path / 'a')
    facts, out = ready(tmp_path / 'a')
    assert facts['format'] == kind and not facts['left_out']
    assert objects(out) == expected(dataset)


def test_boxes_alone(dataset, tmp_path):
    """To the five digits that YOLO's fractions have."""
    for one in dataset.annotations.values():
        one.mask = None
    export(dataset, 'yolo', tmp_path / 'a')
    found = objects(ready(tmp_path / 'a')[1])
    for path, one in dataset.annotations.items():
        boxes = np.array([row[1] for row in found[path.rpartition('/')[2]]])
        assert np.abs(boxes[:, :2] + boxes[:, 2:] - one.xyxy[:, 2:]).max() < 0.02
        assert np.abs(boxes[:, :2] - one.xyxy[:, :2]).max() < 0.02
