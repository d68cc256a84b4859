# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Every missed object and every false prediction above a score, image by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_api

from .coco import MASKS, Prediction, Rules
from .matching import FALSE, IGNORED, RIGHT, WRONG_CLASS, Outcome, match

MISSED = 'missed'
KINDS = (MISSED, *FALSE)


class ImageResult(NamedTuple):
    """The outcome of an image; the arrays are those of P predictions and G objects."""

    prediction: Prediction
    chosen: np.ndarray  # (P,) which of its predictions have the score, highest first
    annotations: list[dict]  # the G objects and regions to ignore, as pycocotools has them
    truth: np.ndarray  # (G,) their classes
    crowds: np.ndarray  # (G,) regions to ignore
    outcome: Outcome

    @property
    def labels(self) -> np.ndarray:
        """(P,) classes of the predictions."""
        return self.prediction.labels[self.chosen]

    def counts(self) -> dict[str, int]:
        """How many objects are right, missed or taken for another class, and what is false."""
        found = Counter(self.outcome.kinds)
        missed = int(self.outcome.missed(self.crowds).sum())
        return {RIGHT: found[RIGHT], MISSED: missed} | {kind: found[kind] for kind in FALSE}

    @property
    def mistakes(self) -> int:
        """Missed objects and false predictions; an object taken for another class counts once."""
        counts = self.counts()
        return sum(counts[kind] for kind in KINDS)


class Mistake(NamedTuple):
    """An object that was missed, or a false prediction."""

    result: ImageResult
    index: int  # of the object, or among the chosen predictions
    kind: str  # of KINDS
    size: float  # by which mistakes are ranked: the score, or the area of a missed object

    @property
    def box(self) -> np.ndarray:
        """x1, y1, x2, y2 in pixels."""
        if self.kind == MISSED:
            return corners(self.result.annotations[self.index])
        return self.result.prediction.boxes[self.result.chosen[self.index]]

    @property
    def label(self) -> int:
        """The class of the object, or of the prediction."""
        labels = self.result.truth if self.kind == MISSED else self.result.labels
        return int(labels[self.index])


def corners(annotation: dict) -> np.ndarray:
    """The box of an annotation as x1, y1, x2, y2."""
    x, y, width, height = annotation['bbox']
    return np.array([x, y, x + width, y + height], float)


def compare(
    rules: Rules, predictions: Sequence[Prediction], kind: str, *, score: float, iou: float
) -> list[ImageResult]:
    """Match the predictions that have at least ``score`` with the objects of each image."""
    label_of = {category: label for label, category in enumerate(rules.category_ids)}
    results = []
    for prediction in predictions:
        annotations = [
            annotation
            for annotation in rules.truth.imgToAnns.get(prediction.image_id, [])
            if annotation['category_id'] in label_of
        ]
        truth = np.array([label_of[a['category_id']] for a in annotations], int)
        crowds = np.array([bool(a.get('iscrowd')) for a in annotations], bool)
        scores = prediction.scores_of(kind)
        order = np.argsort(-scores, kind='stable')
        chosen = order[scores[order] >= score]
        ious = _ious(rules, prediction, chosen, annotations, crowds, kind)
        outcome = match(ious, prediction.labels[chosen], truth, crowds, iou)
        results.append(ImageResult(prediction, chosen, annotations, truth, crowds, outcome))
    return results


def confusion(results: Sequence[ImageResult], classes: int) -> np.ndarray:
    """(K + 1, K + 1) counts: rows are the truth, columns the predictions, the last is background.

    The last row has the false predictions, the last column the missed objects; what was ignored is
    not counted.
    """
    matrix = np.zeros((classes + 1, classes + 1), int)
    for result in results:
        kinds, partners, _ = result.outcome
        counted = kinds != IGNORED
        rows = np.where(partners < 0, classes, np.append(result.truth, classes)[partners])
        np.add.at(matrix, (rows[counted], result.labels[counted]), 1)
        missed = result.outcome.missed(result.crowds)
        np.add.at(matrix, (result.truth[missed], classes), 1)
    return matrix


def worst(results: Sequence[ImageResult], count: int) -> list[ImageResult]:
    """The images with most mistakes; of those with as many, the one with fewer right objects."""
    ranked = sorted(
        (result for result in results if result.mistakes),
        key=lambda result: (-result.mistakes, result.counts()[RIGHT], result.prediction.path),
    )
    return ranked[:count]


def false_predictions(results: Sequence[ImageResult], kind: str, count: int) -> list[Mistake]:
    """The false predictions with the highest scores."""
    found = []
    for result in results:
        scores = result.prediction.scores_of(kind)[result.chosen]
        for index, what in enumerate(result.outcome.kinds):
            if what in FALSE:
                found.append(Mistake(result, index, what, float(scores[index])))
    return sorted(found, key=lambda mistake: -mistake.size)[:count]


def missed_objects(results: Sequence[ImageResult], count: int) -> list[Mistake]:
    """The largest objects that nothing stands for."""
    found = [
        Mistake(result, int(index), MISSED, float(result.annotations[index]['area']))
        for result in results
        for index in np.nonzero(result.outcome.missed(result.crowds))[0]
    ]
    return sorted(found, key=lambda mistake: -mistake.size)[:count]


def taken_for(result: ImageResult, index: int) -> int | None:
    """The class of the object that a prediction of WRONG_CLASS stands for; None for others."""
    if result.outcome.kinds[index] != WRONG_CLASS:
        return None
    return int(result.truth[result.outcome.partners[index]])


def _ious(rules, prediction, chosen, annotations, crowds, kind) -> np.ndarray:
    if not len(chosen) or not annotations:
        return np.zeros((len(chosen), len(annotations)))
    if kind == MASKS:
        found = [prediction.masks[index] for index in chosen]
        objects = [rules.truth.annToRLE(annotation) for annotation in annotations]
    else:
        boxes = prediction.boxes[chosen].astype(float)
        found = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        objects = np.array([annotation['bbox'] for annotation in annotations], float)
    return rle_api.iou(found, objects, crowds.astype(np.uint8).tolist())
