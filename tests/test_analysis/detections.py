# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A small truth and predictions for it, of known outcome, for the tests of results."""

import contextlib
import io

import numpy as np
from pycocotools import mask as rle_api
from pycocotools.coco import COCO

from mmconvnext.analysis.results.coco import Prediction, Rules

CLASSES = ['cat', 'dog', 'emu']  # no emu anywhere
WIDTH, HEIGHT = 96, 64
IDS = [7, 3, 5]  # of the categories: not in their order
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def rle(box) -> dict:
    """The run lengths of a filled box x1, y1, x2, y2."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    x1, y1, x2, y2 = map(int, box)
    mask[y1:y2, x1:x2] = 1
    found = rle_api.encode(mask)
    return dict(size=found['size'], counts=found['counts'].decode())


def truth(rows: list[tuple]) -> COCO:
    """A COCO of (image, class, box x1 y1 x2 y2, crowd); images are 1 to 4."""
    annotations = []
    for number, (image, label, box, crowd) in enumerate(rows, 1):
        x1, y1, x2, y2 = box
        annotations.append(
            dict(
                id=number,
                image_id=image,
                category_id=IDS[label],
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=(x2 - x1) * (y2 - y1),
                iscrowd=crowd,
                segmentation=rle(box),
            )
        )
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=WIDTH, height=HEIGHT) for i in range(1, 5)],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in zip(IDS, CLASSES)],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def rules(coco: COCO, thresholds=THRESHOLDS) -> Rules:
    return Rules(coco, IDS, [1, 2, 3, 4], thresholds, (100, 300, 1000))


def prediction(image: int, rows: list[tuple], folder='') -> Prediction:
    """Predictions (class, score, box) in an image."""
    boxes = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
    return Prediction(
        image,
        f'{folder}{image}.png',
        boxes,
        np.array([row[0] for row in rows], int),
        np.array([row[1] for row in rows], np.float32),
        [rle(row[2]) for row in rows],
    )


OBJECTS = [
    (1, 0, (4, 4, 24, 34), 0),
    (1, 1, (40, 8, 90, 60), 0),
    (1, 1, (30, 2, 36, 10), 0),
    (2, 0, (10, 10, 50, 50), 0),
    (2, 1, (60, 0, 96, 64), 1),  # a region to ignore
    (3, 1, (20, 20, 60, 50), 0),
]  # none in image 4


def found(folder='') -> list[Prediction]:
    """Right ones, one of each mistake, one that is ignored, and a low score."""
    return [
        prediction(
            1,
            [
                (0, 0.9, (4, 4, 24, 34)),  # right
                (0, 0.6, (4, 4, 24, 33)),  # duplicate
                (1, 0.8, (40, 8, 90, 58)),  # right
                (1, 0.3, (30, 2, 36, 10)),  # right, but below 0.5
            ],
            folder,
        ),
        prediction(2, [(1, 0.7, (10, 10, 50, 48)), (1, 0.95, (64, 4, 90, 60))], folder),
        prediction(3, [(1, 0.55, (50, 20, 90, 50))], folder),  # misplaced: IoU 1/7
        prediction(4, [(2, 0.99, (5, 5, 30, 25))], folder),  # background
    ]
