# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Average precision as mmdet's CocoMetric measures it, with all that pycocotools knows."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

BOXES, MASKS = 'bbox', 'segm'  # COCO's names of what is measured
SIZES = ('small', 'medium', 'large')  # pycocotools: areas below 32**2, below 96**2, and the others
AREAS = (0, 32**2, 96**2, 1e10)
STATS = ('AP', 'AP50', 'AP75', *(f'AP_{size}' for size in SIZES))  # of pycocotools, in its order


class Prediction(NamedTuple):
    """What a detector found in an image: N objects."""

    image_id: int
    path: str
    boxes: np.ndarray  # (N, 4) x1, y1, x2, y2 in pixels
    labels: np.ndarray  # (N,)
    scores: np.ndarray  # (N,)
    masks: Sequence[dict] | None = None  # run-length encoded
    mask_scores: np.ndarray | None = None  # (N,) of models that score masks by themselves

    def scores_of(self, kind: str) -> np.ndarray:
        """The scores by which boxes or masks are ranked."""
        masks = kind == MASKS and self.mask_scores is not None
        return self.mask_scores if masks else self.scores


class Rules(NamedTuple):
    """What a CocoMetric measures: its truth and its settings."""

    truth: COCO
    category_ids: Sequence[int]  # of class 0, 1, ...
    image_ids: Sequence[int]
    iou_thresholds: Sequence[float]
    most: Sequence[int]  # predictions in an image; the last number is for single classes


class Ranked(NamedTuple):
    """The predictions of a class at one IoU: highest scores first; ignored ones are left out."""

    scores: np.ndarray  # (N,)
    right: np.ndarray  # (N,) bool
    objects: int  # how many there are to be found


class Evaluation(NamedTuple):
    """The figures of boxes or masks; nan where there is nothing to measure."""

    stats: dict[str, float]  # those of STATS, equal to what CocoMetric logs
    classes: list[dict[str, float]]  # the same of each class, as with classwise=True
    curves: dict[float, np.ndarray]  # (K, 101) precision at recall 0, 0.01, ... by IoU
    ranked: list[Ranked]  # at the IoU that was asked for


def evaluate(rules: Rules, predictions: Sequence[Prediction], kind: str, iou: float) -> Evaluation:
    """Measure ``kind``, BOXES or MASKS; ``iou`` is that of ``Evaluation.ranked``."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints each step
        found = _as_coco(rules, predictions, kind)
        run = COCOeval(rules.truth, found, kind)
        run.params.catIds, run.params.imgIds = list(rules.category_ids), list(rules.image_ids)
        run.params.maxDets = list(rules.most)
        run.params.iouThrs = np.asarray(rules.iou_thresholds)
        run.evaluate()
        run.accumulate()
        run.summarize()
    # (IoU, recall, class, size); params.catIds is sorted.
    place = {category: index for index, category in enumerate(run.params.catIds)}
    order = [place[category] for category in rules.category_ids]
    precision = run.eval['precision'][..., -1][:, :, order]
    precision = np.where(precision < 0, np.nan, precision)
    stats = {name: _known(value) for name, value in zip(STATS, run.stats)}
    at = {
        value: index
        for value in (0.5, 0.75)
        for index, threshold in enumerate(rules.iou_thresholds)
        if abs(threshold - value) < 1e-6
    }
    classes = [_figures(precision[:, :, index], at) for index in range(precision.shape[2])]
    curves = {value: precision[index, :, :, 0].T for value, index in at.items()}
    return Evaluation(stats, classes, curves, list(_ranked(run, rules.category_ids, iou)))


def size_of(area: float) -> str:
    """COCO's size of an object with this area in pixels."""
    return SIZES[sum(area >= limit for limit in AREAS[1:-1])]


def best_threshold(ranked: Sequence[Ranked]) -> dict[str, float] | None:
    """The score with the highest F1 of all classes together; None if nothing is right.

    Returns:
        score, f1, precision, recall.
    """
    curve = f1_curve(ranked)
    if not len(curve['f1']) or not curve['f1'].max() > 0:
        return None
    best = int(curve['f1'].argmax())
    return {name: float(values[best]) for name, values in curve.items()}


def f1_curve(ranked: Sequence[Ranked]) -> dict[str, np.ndarray]:
    """Precision, recall and F1 if predictions below a score are left out, by falling score."""
    scores = np.concatenate([np.zeros(0), *(one.scores for one in ranked)])
    right = np.concatenate([np.zeros(0, bool), *(one.right for one in ranked)])
    objects = sum(one.objects for one in ranked)
    order = np.argsort(-scores, kind='stable')
    scores, right = scores[order], np.cumsum(right[order])
    last = np.append(np.diff(scores) != 0, True)[: len(scores)]  # equal scores stand together
    scores, right, count = scores[last], right[last], np.arange(1, len(last) + 1)[last]
    return dict(
        score=scores,
        f1=2 * right / np.maximum(1, count + objects),
        precision=right / count,
        recall=right / max(1, objects),
    )


def _known(value: float) -> float:
    return float(value) if value >= 0 else float('nan')  # pycocotools writes -1


def _figures(precision: np.ndarray, at: dict[float, int]) -> dict[str, float]:
    """STATS of a class from its (IoU, recall, size)."""
    parts = [precision[:, :, 0]]
    parts += [precision[at[v], :, 0] if v in at else np.zeros(0) for v in (0.5, 0.75)]
    parts += [precision[:, :, size] for size in (1, 2, 3)]
    known = [part[~np.isnan(part)] for part in parts]
    return {
        name: float(part.mean()) if part.size else float('nan') for name, part in zip(STATS, known)
    }


def _ranked(run: COCOeval, category_ids: Sequence[int], iou: float) -> Iterator[Ranked]:
    run.params.iouThrs = np.array([iou])  # the overlaps are there; only matching is repeated
    everything, most = run.params.areaRng[0], run.params.maxDets[-1]
    for category in category_ids:
        rows = [run.evaluateImg(i, category, everything, most) for i in run.params.imgIds]
        rows = [row for row in rows if row is not None]
        scores = np.concatenate([np.zeros(0), *(row['dtScores'] for row in rows)])
        counted = [~row['dtIgnore'][0].astype(bool) for row in rows]
        right = [row['dtMatches'][0] > 0 for row in rows]
        counted = np.concatenate([np.zeros(0, bool), *counted])
        right = np.concatenate([np.zeros(0, bool), *right])[counted]
        scores = scores[counted]
        order = np.argsort(-scores, kind='stable')
        objects = sum(int((~np.asarray(row['gtIgnore'], bool)).sum()) for row in rows)
        yield Ranked(scores[order], right[order], objects)


def _as_coco(rules: Rules, predictions: Sequence[Prediction], kind: str) -> COCO:
    """The predictions as pycocotools' loadRes would make them, without copies, and if empty."""
    entries = []
    for prediction in predictions:
        scores = prediction.scores_of(kind).tolist()
        corners = prediction.boxes.astype(float)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        areas = boxes[:, 2] * boxes[:, 3]
        if kind == MASKS:
            areas = rle_api.area(list(prediction.masks)) if len(prediction.masks) else areas
        for index, label in enumerate(prediction.labels.tolist()):
            entry = dict(
                id=len(entries) + 1,
                image_id=prediction.image_id,
                category_id=rules.category_ids[label],
                score=scores[index],
                area=float(areas[index]),
                iscrowd=0,
            )
            if kind == MASKS:
                entry['segmentation'] = prediction.masks[index]
            else:
                entry['bbox'] = boxes[index].tolist()
            entries.append(entry)
    found = COCO()
    found.dataset = dict(
        images=rules.truth.dataset['images'],
        categories=rules.truth.dataset['categories'],
        annotations=entries,
    )
    found.createIndex()
    return found
