# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Images with their mistakes: truth beside prediction, and crops of single mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as rle_api

from ...draw import (
    Objects,
    beside,
    draw_label_map,
    draw_objects,
    enlarge,
    with_legend,
    with_titles,
)
from ...draw.layout import fit
from .coco import MASKS
from .matching import BACKGROUND, DUPLICATE, IGNORED, MISPLACED, RIGHT, WRONG_CLASS
from .mistakes import MISSED, ImageResult, Mistake, corners

# Blue against red and orange, which people with colour blindness can tell apart; the others differ
# from these in lightness too: our choice.
BLUE, RED, ORANGE, GREY = (0, 114, 178), (220, 20, 40), (230, 140, 0), (150, 150, 150)
CYAN, PINK = (90, 220, 230), (250, 130, 220)
LOUD = {MISSED: RED, BACKGROUND: RED, WRONG_CLASS: ORANGE, MISPLACED: PINK, DUPLICATE: CYAN}
# Our choice: sides of pictures in pixels.
LEAST, MOST, CROP = 480, 800, 280
MARGIN = 16  # pixels around a crop, beside half of the box
TINT = 0.35  # opacity of the mask of a crop; our choice


def draw_mistakes(
    image: np.ndarray, result: ImageResult, kind: str, classes: Sequence[str]
) -> np.ndarray:
    """The truth on the left, the predictions on the right, each object in the colour of its lot.

    Args:
        image: see :func:`mmconvnext.draw.as_picture`.
        kind: BOXES or MASKS; what is drawn.
    """
    outcome, counts = result.outcome, result.counts()
    by = outcome.found_by
    truth = np.where(by < 0, MISSED, np.append(outcome.kinds, '')[by])
    truth[result.crowds] = IGNORED
    sides = [
        _side(image, _truth(result, kind), truth, classes),
        _side(image, _predictions(result, kind), outcome.kinds, classes),
    ]
    false = len(outcome.kinds) - counts[RIGHT] - int((outcome.kinds == IGNORED).sum())
    titles = [
        f'truth: {int((~result.crowds).sum())} objects, {counts[MISSED]} missed',
        f'predicted: {len(outcome.kinds)} objects, {false} false',
    ]
    sides = with_titles(sides, titles)
    legend = {
        'right': BLUE,
        'missed, or background': RED,
        'wrong class': ORANGE,
        'misplaced': PINK,
        'duplicate': CYAN,
        'ignored': GREY,
    }
    return with_legend(beside(*sides), list(legend), list(legend.values()))


def draw_crop(image: np.ndarray, mistake: Mistake, kind: str) -> np.ndarray:
    """The mistake in red in its surroundings, other objects in blue; beside a missed object what
    was predicted in orange.

    A false mask is tinted, below all boxes; of the others there are boxes only, so that the image
    can be seen.
    """
    left, top, right, bottom = _region(mistake.box, image.shape)
    picture = fit(image[top:bottom, left:right], CROP)
    scale = CROP / max(bottom - top, right - left)
    result, missed = mistake.result, mistake.kind == MISSED
    objects = [
        corners(annotation)
        for index, annotation in enumerate(result.annotations)
        if not (missed and index == mistake.index)
    ]
    found = result.prediction.boxes[result.chosen] if missed else []
    boxes = (np.array([mistake.box, *found, *objects], float) - [left, top, left, top]) * scale
    labels = np.array([0] + [2] * len(found) + [1] * len(objects))
    height, width = picture.shape[:2]
    inside = (boxes[:, :2] < (width, height)).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    inside[0] = False  # it is drawn last, on top
    look = dict(classes=['', '', ''], colours=[RED, BLUE, ORANGE], texts=False)
    if kind == MASKS and not missed:
        (mask,) = _decoded([result.prediction.masks[result.chosen[mistake.index]]])
        tint = fit(mask[top:bottom, left:right].astype(np.uint8) * 255, CROP) > 127
        picture = draw_label_map(picture, np.where(tint, 0, -1), [RED], opacity=TINT)
    picture = draw_objects(picture, Objects(boxes[inside], labels[inside]), **look, thickness=2)
    return draw_objects(picture, Objects(boxes[:1], labels[:1]), **look, thickness=3)


def _side(image: np.ndarray, objects: Objects, lots: np.ndarray, classes: Sequence) -> np.ndarray:
    """The objects in the colours of their lots; texts beside mistakes only, if they tell much."""
    picture, scale = enlarge(image, LEAST)
    objects = objects.scaled(scale)
    calm = np.isin(lots, (RIGHT, IGNORED))
    # An object's class and lot are one index: draw_objects has a colour for each.
    colours = [BLUE] * len(classes) + [GREY] * len(classes)
    shift = np.where(lots == IGNORED, len(classes), 0)
    quiet = objects._replace(labels=objects.labels + shift).take(np.nonzero(calm)[0])
    picture = draw_objects(picture, quiet, [*classes, *classes], colours, texts=False)
    colours = [colour for colour in LOUD.values() for _ in classes]
    shift = len(classes) * np.array([[*LOUD].index(lot) if lot in LOUD else 0 for lot in lots], int)
    loud = objects._replace(labels=objects.labels + shift).take(np.nonzero(~calm)[0])
    one = len(classes) == 1  # its name says nothing: only the scores are written
    texts = False if one and objects.scores is None else None
    names = [''] * len(LOUD) if one else [*classes] * len(LOUD)
    picture = draw_objects(picture, loud, names, colours, texts=texts)
    return fit(picture, MOST) if max(picture.shape[:2]) > MOST else picture


def _truth(result: ImageResult, kind: str) -> Objects:
    boxes = np.array([corners(a) for a in result.annotations], float).reshape(-1, 4)
    masks = None
    if kind == MASKS and result.annotations:
        # pycocotools has replaced polygons by run lengths when it measured.
        masks = _decoded([annotation['segmentation'] for annotation in result.annotations])
    return Objects(boxes, result.truth, None, masks)


def _predictions(result: ImageResult, kind: str) -> Objects:
    prediction, chosen = result.prediction, result.chosen
    masks = None
    if kind == MASKS and len(chosen):
        masks = _decoded([prediction.masks[index] for index in chosen])
    scores = prediction.scores_of(kind)[chosen]
    return Objects(prediction.boxes[chosen].astype(float), result.labels, scores, masks)


def _decoded(masks: list[dict]) -> np.ndarray:
    return np.moveaxis(rle_api.decode(masks), -1, 0).astype(bool)


def _region(box: np.ndarray, shape: tuple) -> tuple[int, int, int, int]:
    """A square around the box with room at each side, as far as the image reaches."""
    height, width = shape[:2]
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = max(box[2] - box[0], box[3] - box[1]) * 0.75 + MARGIN
    # At least a pixel, also of a box outside of the image.
    left, top = int(np.clip(x - half, 0, width - 1)), int(np.clip(y - half, 0, height - 1))
    right, bottom = int(np.clip(x + half, left + 1, width)), int(np.clip(y + half, top + 1, height))
    return left, top, right, bottom
