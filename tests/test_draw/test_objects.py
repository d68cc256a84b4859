# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/objects.py: boxes, masks and texts in the colours of their classes."""

import numpy as np

from mmconvnext.draw import Objects, draw_objects, line_width, write_texts

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


def test_outlines_leave_the_image_as_it_is():
    image = np.full((60, 90, 3), 100, np.uint8)
    picture = draw_objects(image, found(), CLASSES, COLOURS, texts=False, outline=True)
    for y, x in ((40, 60), (15, 30)):  # inside of the masks
        assert picture[y, x].tolist() == [100] * 3
    assert picture[10, 30].tolist() == picture[15, 20].tolist() == [0, 0, 200]
    assert picture[49, 60].tolist() == [200, 0, 0]
    boxes = [draw_objects(image, found(masks=None), CLASSES, COLOURS, outline=o) for o in (0, 1)]
    assert (boxes[0] == boxes[1]).all() and (boxes[0] != image).any()


def test_an_outline_follows_its_mask():
    masks = np.zeros((1, 60, 90), bool)
    masks[0, 10:50, 10:40] = np.tri(40, 30, dtype=bool)
    one = Objects(np.array([[10, 10, 40, 50]]), np.array([0]), masks=masks)
    picture = draw_objects(
        np.full((60, 90, 3), 100, np.uint8), one, CLASSES, COLOURS, texts=False, outline=True
    )
    assert picture[25, 25].tolist() == [200, 0, 0]  # its diagonal
    assert picture[12, 38].tolist() == [100] * 3  # a corner of its box


def texts_of(monkeypatch, objects, shape=(60, 90), **options):
    written = []
    monkeypatch.setattr(
        'mmconvnext.draw.objects.put_texts', lambda picture, texts, size: written.extend(texts)
    )
    draw_objects(np.zeros(shape, np.uint8), objects, CLASSES, COLOURS, **options)
    return written


def test_texts(monkeypatch):
    large = found(masks=None).scaled(4)
    assert texts_of(monkeypatch, large, (240, 360)) == [
        (160, 68, 'cat 0.90', (200, 0, 0)),
        (80, 28, 'dog 0.40', (0, 0, 200)),  # the first object is written last, on top
    ]
    shown = texts_of(monkeypatch, found(scores=None).scaled(4), (240, 360))
    assert [text[2] for text in shown] == ['cat', 'dog']
    assert not texts_of(monkeypatch, large, (240, 360), texts=False)


def test_texts_without_room_are_left_out_unless_they_are_wanted(monkeypatch):
    small = found(boxes=np.float32([[0, 9, 5, 9], [80, 20, 89, 29]]), masks=None)
    assert texts_of(monkeypatch, small) == []
    assert [text[2] for text in texts_of(monkeypatch, small, texts=True)] == [
        'cat 0.90',
        'dog 0.40',
    ]


def test_a_text_may_be_the_score_alone(monkeypatch):
    one = found(masks=None, labels=np.array([0, 0])).scaled(4)
    picture, written = np.zeros((240, 360, 3), np.uint8), []
    monkeypatch.setattr(
        'mmconvnext.draw.objects.put_texts', lambda picture, texts, size: written.extend(texts)
    )
    write_texts(picture, one, [''], COLOURS)
    assert [text[2] for text in written] == ['0.90', '0.40']


def test_lines_become_wider_with_the_picture():
    sides = [line_width(np.zeros((side, 2 * side, 3), np.uint8)) for side in (60, 300, 900)]
    assert sides == [1, 1, 3]
