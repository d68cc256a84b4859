# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/matching.py: cases by hand, and supervision's counts where they are defined."""

import numpy as np
import pytest

from mmconvnext.analysis.results.matching import (
    BACKGROUND,
    DUPLICATE,
    IGNORED,
    MISPLACED,
    NEAR,
    RIGHT,
    WRONG_CLASS,
    match,
)


def kinds(ious, labels, truth, crowds=None, threshold=0.5):
    """Kinds of the predictions, their objects, and which objects are missed."""
    crowds = np.array(crowds or [False] * len(truth), bool)
    outcome = match(ious, np.array(labels, int), np.array(truth, int), crowds, threshold)
    missed = np.nonzero(outcome.missed(crowds))[0]
    return list(outcome.kinds), outcome.partners.tolist(), missed.tolist()


def test_every_kind():
    ious = [
        [0.9, 0, 0],  # right
        [0.6, 0, 0],  # again
        [0, 0.7, 0],  # an object of another class
        [0, 0, 0.3],  # too far from its object
        [0, 0, 0],
    ]
    expected = [RIGHT, DUPLICATE, WRONG_CLASS, MISPLACED, BACKGROUND]
    assert kinds(ious, [0, 0, 0, 2, 1], [0, 1, 2]) == (expected, [0, -1, 1, -1, -1], [2])


def test_the_same_class_comes_first_then_the_overlap():
    # The second has the class; the first overlaps more.
    assert kinds([[0.9], [0.6]], [1, 0], [0])[:2] == ([BACKGROUND, RIGHT], [-1, 0])
    # Two objects, two predictions: each gets the one that it overlaps most.
    assert kinds([[0.6, 0.7], [0.8, 0.75]], [0, 0], [0, 0])[:2] == ([RIGHT, RIGHT], [1, 0])
    # Of an object that another one found, a prediction is no mistake in its class.
    assert kinds([[0.9], [0.8]], [0, 1], [0])[0] == [RIGHT, BACKGROUND]


@pytest.mark.parametrize('iou, kind', [(0.5, RIGHT), (0.499, MISPLACED)])
def test_the_threshold_belongs_to_it(iou, kind):
    assert kinds([[iou]], [0], [0])[0] == [kind]


@pytest.mark.parametrize('iou, kind', [(NEAR, MISPLACED), (NEAR - 0.01, BACKGROUND)])
def test_what_is_near(iou, kind):
    assert kinds([[iou]], [0], [0]) == ([kind], [-1], [0])


def test_a_region_to_ignore_takes_any_number_of_its_class():
    ious = [[0.9, 0.1], [0.8, 0], [0.9, 0], [0.4, 0], [0.9, 0.7]]
    found = kinds(ious, [0, 0, 1, 0, 0], [0, 0], crowds=[True, False])
    # Of another class, and one that lies outside by more than half; the last is the object.
    assert found == ([IGNORED, IGNORED, BACKGROUND, BACKGROUND, RIGHT], [-1, -1, -1, -1, 1], [])
    assert kinds(np.zeros((0, 1)), [], [0], crowds=[True]) == ([], [], [])


@pytest.mark.parametrize('labels, truth', [([], []), ([0, 1], []), ([], [1, 1])])
def test_empty_sides(labels, truth):
    ious = np.zeros((len(labels), len(truth)))
    found = kinds(ious, labels, truth)
    assert found == ([BACKGROUND] * len(labels), [-1] * len(labels), list(range(len(truth))))


def test_the_counts_are_supervisions():
    from supervision import ConfusionMatrix, Detections
    from supervision.detection.utils.iou_and_nms import box_iou_batch

    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        sides = []
        for count in random.integers(0, 7, 2):
            corner = random.uniform(0, 40, (count, 2))
            size = random.uniform(20, 40, (count, 2))
            boxes = np.concatenate([corner, corner + size], axis=1)
            sides.append((boxes, random.integers(0, 3, count)))
        (found, labels), (objects, truth) = sides
        matrix = ConfusionMatrix.from_detections(
            [Detections(xyxy=found, class_id=labels, confidence=np.ones(len(labels)))],
            [Detections(xyxy=objects, class_id=truth)],
            ['a', 'b', 'c'],
            iou_threshold=0.4,
        ).matrix
        ious = box_iou_batch(found, objects) if len(found) and len(objects) else []
        crowds = np.zeros(len(truth), bool)
        outcome = match(np.array(ious), labels, truth, crowds, 0.4)
        ours = np.zeros((4, 4))
        for label, partner in zip(labels, outcome.partners):
            ours[3 if partner < 0 else truth[partner], label] += 1
        for label in truth[outcome.missed(crowds)]:
            ours[label, 3] += 1
        np.testing.assert_array_equal(ours, matrix)
        wrong += (outcome.kinds == WRONG_CLASS).sum()
    assert wrong  # the cases are not too easy
