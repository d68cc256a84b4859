# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/mistakes.py: a case by hand; boxes and masks."""

import numpy as np
import pytest
from detections import OBJECTS, found, prediction, rle, rules, truth

from mmconvnext.analysis.results.coco import BOXES, MASKS
from mmconvnext.analysis.results.matching import (
    BACKGROUND,
    DUPLICATE,
    IGNORED,
    MISPLACED,
    RIGHT,
    WRONG_CLASS,
)
from mmconvnext.analysis.results.mistakes import (
    MISSED,
    compare,
    confusion,
    corners,
    false_predictions,
    missed_objects,
    taken_for,
    worst,
)


def results(kind=BOXES, score=0.5, iou=0.5, predictions=None):
    return compare(
        rules(truth(OBJECTS)), found() if predictions is None else predictions, kind,
        score=score, iou=iou,
    )  # fmt: skip


@pytest.mark.parametrize('kind', [BOXES, MASKS])
def test_each_image(kind):
    first, second, third, fourth = results(kind)
    assert first.chosen.tolist() == [0, 2, 1]  # by score; the last is below 0.5
    assert list(first.outcome.kinds) == [RIGHT, RIGHT, DUPLICATE]
    assert first.labels.tolist() == [0, 1, 0] and first.truth.tolist() == [0, 1, 1]
    assert first.counts() == {
        RIGHT: 2, MISSED: 1, WRONG_CLASS: 0, DUPLICATE: 1, MISPLACED: 0, BACKGROUND: 0,
    }  # fmt: skip
    assert list(second.outcome.kinds) == [IGNORED, WRONG_CLASS]
    assert second.crowds.tolist() == [False, True]
    assert list(third.outcome.kinds) == [MISPLACED]
    assert list(fourth.outcome.kinds) == [BACKGROUND] and not fourth.annotations
    assert [one.mistakes for one in (first, second, third, fourth)] == [2, 1, 2, 1]


@pytest.mark.parametrize('score, right', [(0.9, 1), (0.91, 0), (0.2, 3)])
def test_the_score_belongs_to_it(score, right):
    predictions = [one._replace(scores=one.scores.astype(float).round(2)) for one in found()]
    assert results(score=score, predictions=predictions)[0].counts()[RIGHT] == right


def test_masks_are_matched_by_masks():
    """The box is right, the mask covers a half."""
    half = prediction(1, [(1, 0.9, (40, 8, 90, 60))])._replace(masks=[rle((40, 8, 90, 30))])
    assert results(BOXES, predictions=[half])[0].counts()[RIGHT] == 1
    assert results(MASKS, predictions=[half])[0].counts()[MISPLACED] == 1


def test_the_confusion_matrix():
    """Rows are the truth; the last row and column are background."""
    expected = np.array(
        [
            [1, 1, 0, 0],  # a cat is right, another taken for a dog
            [0, 1, 0, 2],
            [0, 0, 0, 0],
            [1, 1, 1, 0],
        ]
    )
    np.testing.assert_array_equal(confusion(results(), 3), expected)
    np.testing.assert_array_equal(confusion([], 3), np.zeros((4, 4)))


def test_classes_that_are_not_asked_for_do_not_count():
    only = rules(truth(OBJECTS))._replace(category_ids=[7])
    cats = [one for one in found() if one.image_id == 1]
    cats = [one._replace(**_taken(one, [0, 1])) for one in cats]
    (result,) = compare(only, cats, BOXES, score=0.5, iou=0.5)
    assert result.counts()[MISSED] == 0 and result.truth.tolist() == [0]


def _taken(one, rows) -> dict:
    return dict(boxes=one.boxes[rows], labels=one.labels[rows], scores=one.scores[rows])


def test_the_worst_images_and_mistakes_come_first():
    some = results()
    # Of two mistakes each: the one with nothing right.
    assert [one.prediction.image_id for one in worst(some, 3)] == [3, 1, 2]
    assert worst(some, 0) == [] and len(worst(some, 9)) == 4
    false = false_predictions(some, BOXES, 9)
    assert [round(one.size, 2) for one in false] == [0.99, 0.7, 0.6, 0.55]
    assert [one.kind for one in false] == [BACKGROUND, WRONG_CLASS, DUPLICATE, MISPLACED]
    assert [one.label for one in false] == [2, 1, 0, 1]
    assert [taken_for(one.result, one.index) for one in false] == [None, 0, None, None]
    np.testing.assert_allclose(false[1].box, (10, 10, 50, 48))
    missed = missed_objects(some, 9)
    assert [one.size for one in missed] == [1200, 48] and {one.kind for one in missed} == {MISSED}
    np.testing.assert_allclose(missed[1].box, (30, 2, 36, 10))
    assert [one.label for one in missed] == [1, 1] and len(missed_objects(some, 1)) == 1


def test_an_image_without_mistakes_is_not_among_the_worst():
    right = prediction(3, [(1, 0.9, (20, 20, 60, 50))])
    assert worst(results(predictions=[right]), 5) == []


def test_corners():
    np.testing.assert_array_equal(corners(dict(bbox=[1, 2, 30, 40])), [1, 2, 31, 42])
