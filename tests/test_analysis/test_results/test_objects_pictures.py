# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/objects_pictures.py: which colour is where."""

import numpy as np
import pytest
from detections import CLASSES, HEIGHT, OBJECTS, WIDTH, found, prediction, rules, truth

from mmconvnext.analysis.results.coco import BOXES, MASKS
from mmconvnext.analysis.results.mistakes import (
    compare,
    false_predictions,
    missed_objects,
)
from mmconvnext.analysis.results.objects_pictures import (
    BLUE,
    CROP,
    CYAN,
    GREY,
    LEAST,
    ORANGE,
    PINK,
    RED,
    draw_crop,
    draw_mistakes,
)

IMAGE = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)


def results(kind=BOXES):
    coco = truth(OBJECTS)
    for annotation in coco.dataset['annotations']:
        annotation['segmentation'] = coco.annToRLE(annotation)  # as after an evaluation
    return compare(rules(coco), found(), kind, score=0.5, iou=0.5)


def has(picture, colour) -> bool:
    return bool((picture == colour).all(axis=2).any())


def sides(result, kind=BOXES, image=IMAGE):
    """Truth and prediction, without titles and legend."""
    picture = draw_mistakes(image, result, kind, CLASSES)
    half = (picture.shape[1] - 8) // 2
    body = picture[30:-40]
    return body[:, :half], body[:, half + 8 :]


@pytest.mark.parametrize('kind', [BOXES, MASKS])
def test_colours_of_each_lot(kind):
    first, second, third, fourth = results(kind)
    left, right = sides(first, kind)
    assert has(left, BLUE) and has(left, RED) and not has(left, ORANGE)  # a dog is missed
    assert has(right, BLUE) and has(right, CYAN) and not has(right, RED)  # a duplicate
    left, right = sides(second, kind)
    assert has(left, ORANGE) and has(left, GREY) and not has(left, RED)
    assert has(right, ORANGE) and has(right, GREY) and not has(right, RED)
    left, right = sides(fourth, kind)
    assert not has(left, RED) and has(right, RED) and not has(right, BLUE)
    assert has(sides(third, kind)[0], RED)


def test_small_images_are_enlarged_and_large_ones_shrunk():
    first = results()[0]
    scale = -(-LEAST // HEIGHT)
    assert draw_mistakes(IMAGE, first, BOXES, CLASSES).shape[1] == 2 * scale * WIDTH + 8
    tall = np.zeros((2000, 1000, 3), np.uint8)
    assert draw_mistakes(tall, first, BOXES, CLASSES).shape[1] == 2 * 400 + 8


def test_masks_are_tinted_where_they_are():
    first = results(MASKS)[0]
    dark = draw_mistakes(IMAGE, first, MASKS, CLASSES)
    light = draw_mistakes(IMAGE, first, BOXES, CLASSES)
    differ = (dark != light).any(axis=2).mean()
    assert 0.1 < differ < 0.9


def test_the_name_of_a_single_class_is_not_repeated():
    coco = truth([(1, 0, (4, 4, 24, 34), 0)])
    (one,) = compare(rules(coco), [prediction(1, [])], BOXES, score=0.5, iou=0.5)
    wide = draw_mistakes(IMAGE, one, BOXES, ['a very long name of a class'])
    named = draw_mistakes(IMAGE, one, BOXES, ['a very long name of a class', 'b'])
    red = [(picture[30:-40] == RED).all(axis=2).sum() for picture in (wide, named)]
    assert 0 < red[0] < red[1]


@pytest.mark.parametrize('kind', [BOXES, MASKS])
def test_crops_of_false_predictions(kind):
    background, wrong, duplicate, _ = false_predictions(results(kind), kind, 9)
    for mistake in (background, wrong, duplicate):
        picture = draw_crop(IMAGE, mistake, kind)
        assert max(picture.shape[:2]) == CROP and has(picture, RED) and not has(picture, ORANGE)
    assert not has(draw_crop(IMAGE, background, kind), BLUE)
    assert has(draw_crop(IMAGE, wrong, kind), BLUE)
    tinted = (draw_crop(IMAGE, background, kind) == 255).all(axis=2).mean()
    assert (tinted < 0.8) == (kind == MASKS)


def test_crops_of_missed_objects_show_what_was_predicted_instead():
    image, small = missed_objects(results(), 2)
    picture = draw_crop(IMAGE, image, BOXES)
    assert has(picture, RED) and has(picture, ORANGE) and not has(picture, BLUE)
    # What is predicted lies upon its object.
    picture = draw_crop(IMAGE, small, BOXES)
    assert has(picture, RED) and has(picture, ORANGE) and not has(picture, BLUE)
    bare = small._replace(result=small.result._replace(chosen=np.zeros(0, int)))
    picture = draw_crop(IMAGE, bare, BOXES)
    assert has(picture, RED) and has(picture, BLUE) and not has(picture, ORANGE)


def test_a_box_outside_of_the_image():
    coco = truth([])
    far = prediction(1, [(0, 0.9, (200, 200, 230, 220))])
    (mistake,) = false_predictions(compare(rules(coco), [far], BOXES, score=0.5, iou=0.5), BOXES, 1)
    assert draw_crop(IMAGE, mistake, BOXES).ndim == 3


@pytest.mark.parametrize('kind', [BOXES, MASKS])
def test_duplicates_misplaced_and_background_differ(kind):
    """The object of the truth is 20 wide; the second prediction is shifted by 12 of them."""
    coco = truth([(1, 0, (4, 4, 24, 34), 0)])
    for annotation in coco.dataset['annotations']:
        annotation['segmentation'] = coco.annToRLE(annotation)
    boxes = {
        (PINK,): [(0, 0.9, (16, 4, 36, 34))],
        (BLUE, CYAN): [(0, 0.9, (4, 4, 24, 34)), (0, 0.8, (5, 4, 25, 34))],
        (RED,): [(0, 0.9, (30, 4, 39, 20))],
    }
    for colours, one in boxes.items():
        (result,) = compare(rules(coco), [prediction(1, one)], kind, score=0.5, iou=0.5)
        _, right = sides(result, kind)
        shown = {colour for colour in (BLUE, RED, ORANGE, PINK, CYAN) if has(right, colour)}
        assert shown == {*colours}, (colours, shown)


def test_the_box_of_an_object_shows_through_a_false_mask():
    """The object lies inside of the prediction, so its box is all that is blue."""
    coco = truth([(1, 0, (12, 10, 18, 20), 0)])
    found = prediction(1, [(0, 0.9, (2, 2, 34, 36))])
    coco.dataset['annotations'][0]['segmentation'] = coco.annToRLE(coco.dataset['annotations'][0])
    results = compare(rules(coco), [found], MASKS, score=0.5, iou=0.5)
    (mistake,) = false_predictions(results, MASKS, 1)
    picture = draw_crop(IMAGE, mistake, MASKS)
    blue = (picture == BLUE).all(axis=2).sum()
    scale = CROP / max(HEIGHT, WIDTH)
    assert blue > 2 * 2 * (6 + 10) * scale  # two lines of pixels around it at least
