# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The figures of a segmentor: confusion of pixels, IoU as mmseg's IoUMetric, worst images."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .objects import MOST
from .values import as_json

STEP = 1 << 24  # pixels that are counted at once, so that memory stays small; our choice


@dataclass
class ImageMaps:
    """The maps of an image, to be drawn: (H, W) indices of classes."""

    path: str
    truth: np.ndarray
    predicted: np.ndarray


@dataclass
class LabelMapAnalysis:
    """Collects the maps of all images; keeps those of the worst.

    Args:
        classes: their names.
        ignored: the value of pixels without a class in the truth.
        keep: how many of the worst images are kept, those with the largest share of wrong pixels.
    """

    classes: Sequence[str]
    ignored: int = 255
    keep: int = 16
    # Rows: truth, predictions: columns. The last row has values that are no class.
    counts: np.ndarray = field(init=False)
    images: list[dict] = field(default_factory=list)
    _worst: list[tuple[float, int, ImageMaps]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = np.zeros((len(self.classes) + 1, len(self.classes)), np.int64)

    def add(self, path: str, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Count an image: (H, W) indices of classes."""
        counts = self._count(truth.reshape(-1), predicted.reshape(-1))
        self.counts += counts
        labelled = int(counts.sum())
        wrong = labelled - int(counts.diagonal().sum())
        share = wrong / labelled if labelled else float('nan')
        self.images.append(dict(file=path, labelled=labelled, wrong=share))
        if wrong and self.keep:
            small = np.uint8 if max(truth.max(), len(self.classes)) < 256 else np.int32
            maps = ImageMaps(path, truth.astype(small), predicted.astype(small))
            entry = (share, -len(self.images), maps)  # the number: maps cannot be compared
            if len(self._worst) < self.keep:
                heapq.heappush(self._worst, entry)
            else:
                heapq.heappushpop(self._worst, entry)

    @property
    def worst(self) -> list[tuple[float, ImageMaps]]:
        """Share of wrong pixels and maps of the worst images, the worst first."""
        return [(share, maps) for share, _, maps in sorted(self._worst, reverse=True)]

    @property
    def matrix(self) -> np.ndarray:
        """(K, K) pixels; rows are the truth, columns the predictions."""
        return self.counts[:-1]

    def iou(self) -> np.ndarray:
        """(K,), nan where a class is neither in the truth nor predicted."""
        right = self.matrix.diagonal()
        union = self.matrix.sum(axis=1) + self.counts.sum(axis=0) - right
        return _share(right, union)

    def accuracy(self) -> np.ndarray:
        """(K,) share of a class's pixels that are right, nan where it does not occur."""
        return _share(self.matrix.diagonal(), self.matrix.sum(axis=1))

    def shares(self) -> np.ndarray:
        """(K,) share of each class among the labelled pixels."""
        pixels = self.matrix.sum(axis=1)
        return pixels / max(1, pixels.sum())

    def metrics(self) -> dict[str, float]:
        """What IoUMetric logs, as fractions."""
        pixels = self.matrix.sum()
        return dict(
            aAcc=float(self.matrix.diagonal().sum() / pixels) if pixels else float('nan'),
            mIoU=_mean(self.iou()),
            mAcc=_mean(self.accuracy()),
        )

    def by_iou(self) -> list[int]:
        """The classes that have an IoU, the lowest first."""
        iou = self.iou()
        return [int(label) for label in np.argsort(iou, kind='stable') if not np.isnan(iou[label])]

    def confusions(self) -> list[tuple[int, int, float]]:
        """(truth, prediction, share of the truth's pixels), most pixels first."""
        inner = self.matrix.copy()
        np.fill_diagonal(inner, 0)
        pixels = self.matrix.sum(axis=1)
        ranked = sorted(np.argwhere(inner).tolist(), key=lambda pair: -inner[tuple(pair)])
        return [(row, at, float(inner[row, at] / pixels[row])) for row, at in ranked]

    def to_json(self) -> dict:
        """The content of `analysis.json`: fractions from 0 to 1, counts of pixels, None if
        undefined.

        Keys: ``task``; ``metrics`` as IoUMetric has them, as fractions; ``classes`` with IoU, Acc,
        and share of the labelled pixels; ``confusion`` (rows: truth), in pixels; ``images`` with
        labelled pixels and the share of wrong ones, the worst first.
        """
        rows = zip(self.classes, self.iou(), self.accuracy(), self.shares())
        ranked = sorted(self.images, key=lambda image: -np.nan_to_num(image['wrong']))
        return as_json(
            dict(
                task='label maps',
                metrics=self.metrics(),
                classes=[dict(name=n, IoU=i, Acc=a, share=s) for n, i, a, s in rows],
                confusion=dict(names=list(self.classes), counts=self.matrix),
                images=ranked,
            )
        )

    def summary(self) -> list[str]:
        """What is worst and where to look, a line for each; in percent, as mmseg logs them."""
        metrics, iou, shares = self.metrics(), self.iou(), self.shares()
        lines = [', '.join(f'{name} {percent(value)}' for name, value in metrics.items())]
        names = [
            f'{self.classes[label]} (IoU {percent(iou[label])}, {shares[label]:.1%} of pixels)'
            for label in self.by_iou()[:MOST]
        ]
        if names:
            lines.append(f'worst classes: {", ".join(names)}')
        pairs = [
            f'{self.classes[row]} taken for {self.classes[column]} ({share:.0%} of its pixels)'
            for row, column, share in self.confusions()[:MOST]
        ]
        if pairs:
            lines.append(f'most wrong pixels: {", ".join(pairs)}')
        images = sorted(self.images, key=lambda image: -np.nan_to_num(image['wrong']))[:MOST]
        named = [
            f'{Path(i["file"]).name} ({i["wrong"]:.0%} wrong)' for i in images if i['wrong'] > 0
        ]
        if named:
            lines.append(f'worst images: {", ".join(named)}')
        return lines

    def _count(self, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        classes = len(self.classes)
        counts = np.zeros(self.counts.size, np.int64)
        for start in range(0, truth.size, STEP):
            labels, found = truth[start : start + STEP], predicted[start : start + STEP]
            counted = labels != self.ignored
            labels, found = labels[counted].astype(np.int64), found[counted].astype(np.int64)
            labels[(labels < 0) | (labels >= classes)] = classes
            counts += np.bincount(labels * classes + found, minlength=len(counts))
        return counts.reshape(self.counts.shape)


def percent(value: float) -> str:
    """'84.04%' for 0.8404, '-' for nan."""
    return '-' if np.isnan(value) else f'{value:.2%}'


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float('nan')
