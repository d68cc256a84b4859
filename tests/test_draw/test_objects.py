# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/objects.py: boxes, masks and texts in the colours of their classes."""

import numpy as np
import pytest

from mmconvnext.draw import Objects, draw_objects

CLASSES, COLOURS = ['cat', 'dog'], [(200, 0, 0), (0, 0, 200)]


def found(**changes):
    masks = np.zeros((2, 60, 90), bool)
    masks[0, 10:30, 20:50], masks[1, 20:50, 40:80] = True, True
    parts = dict(
        boxes=np.array([[20, 10, 50, 30], [40, 20, 80, 50]], float),
        labels=np.array([1, 0]),
        scores=np.array([0.4, 0.9]),
        masks=masks,
    )
    return Objects(**{**parts, **changes})


def test_the_best_come_first_and_weak_ones_are_left_out():
    best = found().at_least(0.4)
    assert best.scores.tolist() == [0.9, 0.4] and best.labels.tolist() == [0, 1]
    assert best.boxes[0].tolist() == [40, 20, 80, 50] and best.masks[1, 10, 20]
    assert found().at_least(0.41).labels.tolist() == [0]
    truth = found(scores=None)
    assert truth.at_least(0.9) is truth


def test_objects_of_an_enlarged_image():
    large = found().scaled(2)
    assert large.boxes[1].tolist() == [80, 40, 160, 100]
    assert large.masks.shape == (2, 120, 180) and large.masks[0, 20:60, 40:100].all()
    assert large.masks[0].sum() == 4 * found().masks[0].sum()
    assert found(masks=None).scaled(3).masks is None


def test_colours_are_those_of_the_classes_and_the_first_object_is_on_top():
    image = np.full((60, 90, 3), 100, np.uint8)
    picture = draw_objects(image, found(), CLASSES, COLOURS, texts=False)
    assert (image == 100).all(), 'a new picture'
    assert picture[15, 20].tolist() == [0, 0, 200]  # its box
    assert picture[30, 40].tolist() == [0, 0, 200]  # where both boxes cross
    assert picture[20, 60].tolist() == [200, 0, 0]
    assert picture[49, 79].tolist() != [100] * 3
    red, green, blue = picture[40, 60].tolist()  # inside the second mask
    assert red > 100 > blue and green == blue
    red, green, blue = picture[15, 30].tolist()
    assert blue > 100 > red
    assert (picture[:5] == 100).all()


def test_no_masks_no_objects():
    image = np.full((60, 90, 3), 100, np.uint8)
    picture = draw_objects(image, found(masks=None), CLASSES, COLOURS, texts=False)
    assert picture[40, 60].tolist() == [100] * 3 and picture[20, 60].tolist() == [200, 0, 0]
    none = found().take(np.array([], int))
    assert (draw_objects(image, none, CLASSES, COLOURS) == 100).all()


def texts_of(monkeypatch, objects, **options):
    written = []
    monkeypatch.setattr(
        'mmconvnext.draw.objects.put_texts', lambda picture, texts, size: written.extend(texts)
    )
    draw_objects(np.zeros((60, 90), np.uint8), objects, CLASSES, COLOURS, **options)
    return written


def test_texts(monkeypatch):
    assert texts_of(monkeypatch, found(masks=None)) == [
        (40, 8, 'cat 0.90', (200, 0, 0)),
        (20, 0, 'dog 0.40', (0, 0, 200)),  # above the image: at its border
    ]
    assert [text[2] for text in texts_of(monkeypatch, found(scores=None))] == ['cat', 'dog']
    assert not texts_of(monkeypatch, found(), texts=False)
    (x, _, text, _), _ = texts_of(
        monkeypatch, found(boxes=np.float32([[0, 9, 5, 9], [80, 9, 89, 19]]))
    )
    assert text == 'cat 0.90' and 20 < x < 80  # to the left, so that the border cuts nothing


@pytest.mark.parametrize('count, written', [(40, 40), (41, 0)])
def test_many_texts_would_hide_the_image(monkeypatch, count, written):
    many = found(masks=None).take(np.zeros(count, int))
    assert len(texts_of(monkeypatch, many)) == written
    assert len(texts_of(monkeypatch, many, texts=True)) == count
