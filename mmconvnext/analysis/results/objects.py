# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The figures of a detector: what `analysis.json` holds, and the most important in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .coco import (
    MASKS,
    SIZES,
    Evaluation,
    Prediction,
    Ranked,
    Rules,
    best_threshold,
    evaluate,
    f1_curve,
    size_of,
)
from .matching import RIGHT
from .mistakes import KINDS, ImageResult, compare, confusion
from .values import as_json

BACKGROUND = 'background'  # the last row and column of the confusion matrix
WORDS = dict(bbox='boxes', segm='masks')
MOST = 3  # examples in a line of the summary; our choice


@dataclass
class ObjectAnalysis:
    """What :func:`analyze_objects` found.

    ``kind`` says whether boxes or masks are matched; ``evaluations`` has all that was measured.
    """

    classes: Sequence[str]
    kind: str
    score: float
    iou: float
    evaluations: dict[str, Evaluation]
    results: list[ImageResult]
    matrix: np.ndarray
    objects: list[Counter]  # by class: how many of each size

    @property
    def evaluation(self) -> Evaluation:
        return self.evaluations[self.kind]

    def to_json(self) -> dict:
        """The content of `analysis.json`: fractions from 0 to 1, counts, None if undefined.

        Keys: ``task``, ``matched`` (bbox or segm), ``score``, ``iou``; ``metrics`` and, in
        ``classes``, the figures of each class by bbox and segm; ``mistakes`` by kind; ``confusion``
        (rows: truth; the last row and column: background); ``sizes``; ``best_threshold``;
        ``curves``: precision at recall 0, 0.01, ..., 1 by IoU, of the mean and of each class;
        ``images``, most mistakes first.
        """
        figures = {name: one.stats for name, one in self.evaluations.items()}
        return as_json(
            dict(
                task='objects',
                matched=self.kind,
                score=self.score,
                iou=self.iou,
                metrics=figures,
                mistakes=self.mistakes(),
                best_threshold=self.best(),
                sizes=self.sizes(),
                classes=[self.class_row(label) for label in range(len(self.classes))],
                confusion=dict(names=[*self.classes, BACKGROUND], counts=self.matrix),
                curves={
                    f'{iou:.2f}': dict(mean=mean(curve), classes=curve.round(4))
                    for iou, curve in self.evaluation.curves.items()
                },
                images=[
                    dict(file=result.prediction.path, mistakes=result.mistakes, **result.counts())
                    for result in sorted(self.results, key=lambda result: -result.mistakes)
                ],
            )
        )

    def class_row(self, label: int) -> dict:
        """The figures of a class; precision and recall are those at ``score`` and ``iou``."""
        row, column = self.matrix[label].sum(), self.matrix[:, label].sum()
        right, counts = self.matrix[label, label], self.objects[label]
        figures = {name: one.classes[label] for name, one in self.evaluations.items()}
        return dict(
            name=self.classes[label],
            objects=sum(counts.values()),
            objects_by_size={size: counts[size] for size in SIZES},
            precision=right / column if column else None,
            recall=right / row if row else None,
            best_threshold=self.best([self.evaluation.ranked[label]]),
            **figures,
        )

    def mistakes(self) -> dict[str, int]:
        """How many objects are right, and how many mistakes there are of each kind."""
        total = Counter({RIGHT: 0, **dict.fromkeys(KINDS, 0)})
        for result in self.results:
            total.update(result.counts())
        return dict(total)

    def sizes(self) -> dict[str, dict]:
        """Objects, and AP, of each of COCO's sizes."""
        return {
            size: dict(
                objects=sum(counts[size] for counts in self.objects),
                AP=self.evaluation.stats[f'AP_{size}'],
            )
            for size in SIZES
        }

    def best(self, ranked: Sequence[Ranked] | None = None) -> dict | None:
        """Where F1 is highest: score, f1, precision, recall."""
        return best_threshold(self.evaluation.ranked if ranked is None else ranked)

    def f1(self) -> float:
        """F1 of all classes together at ``score``."""
        curve = f1_curve(self.evaluation.ranked)
        kept = np.nonzero(curve['score'] >= self.score)[0]
        return float(curve['f1'][kept[-1]]) if len(kept) else 0.0

    def by_ap(self) -> list[int]:
        """The classes that occur, lowest AP first."""
        known = [
            label for label, row in enumerate(self.evaluation.classes) if not np.isnan(row['AP'])
        ]
        return sorted(known, key=lambda label: self.evaluation.classes[label]['AP'])

    def confusions(self) -> list[tuple[int, int, int]]:
        """(truth, prediction, count) of the classes that are taken for another, most first."""
        inner = self.matrix[:-1, :-1].copy()
        np.fill_diagonal(inner, 0)
        pairs = np.argwhere(inner)
        ranked = sorted(pairs.tolist(), key=lambda pair: -inner[tuple(pair)])
        return [(row, column, int(inner[row, column])) for row, column in ranked]

    def summary(self) -> list[str]:
        """What is worst and where to look, a line for each."""
        return [*self._totals(), *self._where_to_look()]

    def _totals(self) -> list[str]:
        lines = []
        for kind, one in self.evaluations.items():
            values = ', '.join(f'{name} {text(value)}' for name, value in one.stats.items())
            lines.append(f'{WORDS[kind]}: {values}')
        counts = self.mistakes()
        lines.append(
            f'{WORDS[self.kind]} with score >= {self.score:g}, IoU >= {self.iou:g}: '
            + ', '.join(f'{count} {kind}' for kind, count in counts.items())
        )
        return lines

    def _where_to_look(self) -> list[str]:
        lines, ranked = [], self.by_ap()
        if len(ranked) > 1:
            shown = (
                f'{self.classes[label]} (AP {text(self.evaluation.classes[label]["AP"])}, '
                f'{sum(self.objects[label].values())} objects)'
                for label in ranked[:MOST]
            )
            lines.append(f'worst classes: {", ".join(shown)}')
        pairs = [
            f'{self.classes[row]} taken for {self.classes[column]} ({count})'
            for row, column, count in self.confusions()[:MOST]
        ]
        if pairs:
            lines.append(f'classes that are confused: {", ".join(pairs)}')
        best = self.best()
        if best:
            lines.append(
                f'best score threshold: {best["score"]:.2f} with F1 {best["f1"]:.3f} (precision '
                f'{best["precision"]:.3f}, recall {best["recall"]:.3f}); at {self.score:g} F1 is '
                f'{self.f1():.3f}'
            )
        images = sorted(self.results, key=lambda result: -result.mistakes)[:MOST]
        names = [f'{Path(r.prediction.path).name} ({r.mistakes})' for r in images if r.mistakes]
        if names:
            lines.append(f'images with most mistakes: {", ".join(names)}')
        return lines


def analyze_objects(
    rules: Rules,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    kinds: Sequence[str],
    *,
    score: float,
    iou: float,
) -> ObjectAnalysis:
    """Measure and compare.

    Args:
        kinds: what is measured, BOXES, MASKS or both; masks are matched if they are measured.
        score: predictions below it are left out where single ones are looked at.
        iou: the least overlap of a prediction that stands for an object.
    """
    kind = MASKS if MASKS in kinds else kinds[0]
    evaluations = {name: evaluate(rules, predictions, name, iou) for name in kinds}
    results = compare(rules, predictions, kind, score=score, iou=iou)
    label_of = {category: label for label, category in enumerate(rules.category_ids)}
    objects = [Counter() for _ in classes]
    for annotation in rules.truth.dataset.get('annotations', []):
        if annotation['category_id'] in label_of and not annotation.get('iscrowd'):
            objects[label_of[annotation['category_id']]][size_of(annotation['area'])] += 1
    matrix = confusion(results, len(classes))
    return ObjectAnalysis(classes, kind, score, iou, evaluations, results, matrix, objects)


def mean(curves: np.ndarray) -> np.ndarray:
    """The mean of the classes that occur: (K, R) to (R,)."""
    known = curves[~np.isnan(curves).all(axis=1)]
    return known.mean(axis=0) if len(known) else np.full(curves.shape[1], np.nan)


def text(value: float) -> str:
    """'0.123', or '-' if it is undefined."""
    return '-' if np.isnan(value) else f'{value:.3f}'
