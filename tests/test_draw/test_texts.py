# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/texts.py: texts stand where they hide little."""

import numpy as np
import pytest

from mmconvnext.draw.picture import text_size
from mmconvnext.draw.texts import MARGIN, MOST, SMALLEST, place_texts

WIDE, HIGH = text_size('cat 0.90', SMALLEST)
WIDE += MARGIN


def places(*boxes, shape=(200, 300), texts=None, **options):
    """By object, the corner of its text; texts have the smallest height."""
    texts = texts or ['cat 0.90'] * len(boxes)
    placed, size = place_texts(np.array(boxes, float), texts, shape, **options)
    assert size == SMALLEST
    return {i: (x, y) for i, x, y in placed}


def test_above_the_box():
    assert places([50, 60, 90, 100]) == {0: (50, 60 - HIGH)}


@pytest.mark.parametrize(
    ('box', 'place'),
    [
        ((270, 60, 298, 100), (300 - WIDE, 60 - HIGH)),  # not cut by the right border
        ((50, 5, 90, 40), (50, 41)),  # below
        ((0, 0, 40, 200), (41, 0)),  # to the right
        ((260, 0, 300, 200), (260 - WIDE, 0)),  # to the left
        ((0, 0, 300, 200), (0, 0)),  # inside
    ],
)
def test_where_the_picture_leaves_room(box, place):
    assert places(box) == {0: place}


def test_an_object_that_is_smaller_than_its_text_has_none():
    side = int((WIDE * HIGH) ** 0.5)
    assert places([50, 60, 50 + side, 60 + side]) == {}
    assert len(places([50, 60, 51 + side, 61 + side])) == 1
    assert len(places([50, 60, 61, 71], texts=['0'])) == 1  # a short one fits


def test_no_text_upon_another_or_upon_other_objects():
    # Two that touch, the second straight below: its text goes below both.
    assert places([50, 60, 90, 90], [50, 91, 90, 121]) == {0: (50, 60 - HIGH), 1: (50, 122)}
    # In a dense grid no text has room but at its border.
    boxes = [[50 * i, y, 50 * i + 49, y + 40] for y in (20, 61, 102, 143) for i in range(6)]
    found = places(*boxes)
    assert sorted(found) == [*range(6), *range(18, 24)]
    corners = np.array([*found.values()])
    rectangles = np.concatenate([corners, corners + [WIDE, HIGH]], axis=1)
    for i, (x1, y1, x2, y2) in enumerate(rectangles):
        others = np.delete(rectangles, i, axis=0)
        apart = (others[:, 0] >= x2) | (others[:, 2] <= x1)
        apart |= (others[:, 1] >= y2) | (others[:, 3] <= y1)
        assert apart.all()


def test_the_first_object_has_the_first_choice():
    same = [[50, 60, 90, 100]] * 2
    assert places(*same) == {0: (50, 60 - HIGH), 1: (50, 101)}
    assert places(*same, texts=['cat 0.90', '']) == {0: (50, 60 - HIGH)}
    assert places(*same, texts=['', 'cat 0.90']) == {1: (50, 60 - HIGH)}


def test_every_text_if_it_is_wanted():
    boxes = [[50, 5, 53, 8], [290, 60, 293, 62]]
    assert places(*boxes) == {}
    assert places(*boxes, every=True) == {0: (50, 0), 1: (300 - WIDE, 60 - HIGH)}
    assert places(*boxes, texts=['', ''], every=True) == {}
    assert places(every=True) == {}


@pytest.mark.parametrize(
    ('side', 'shape', 'size'),
    [
        (400, (800, 1000), 20),  # a 40th of the picture at most
        (60, (800, 1000), 15),  # a quarter of the object
        (20, (800, 1000), SMALLEST),
        (400, (300, 1000), SMALLEST),
    ],
)
def test_the_height_follows_picture_and_objects(side, shape, size):
    boxes = np.array([[0, 0, side, side]] * 3 + [[0, 0, 4, 4]], float)
    assert place_texts(boxes, [''] * 4, shape)[1] == size


def test_only_so_many_texts():
    boxes = np.array([[50 * i, 50, 50 * i + 45, 90] for i in range(MOST + 1)], float)
    texts, shape = ['0.90'] * len(boxes), (2000, 50 * len(boxes))
    assert len(place_texts(boxes / 1, texts, shape)[0]) == MOST
    assert len(place_texts(boxes, texts, shape, every=True)[0]) == MOST + 1
