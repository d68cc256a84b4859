# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Hooks that keep what a test predicts, so that the model runs once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .coco import BOXES, MASKS, Prediction, Rules
from .label_maps import LabelMapAnalysis


def measures_objects(metric: type) -> bool:
    """Whether a class of metrics is mmdet's CocoMetric; LVIS has rules of its own."""
    names = {base.__name__ for base in metric.__mro__}
    return 'CocoMetric' in names and 'LVISMetric' not in names


class KeepObjects(Hook):
    """Keeps what CocoMetric gets, masks as run lengths: the same arrays, no copies.

    After the test, ``predictions``, ``rules`` and ``kinds`` are what ``analyze_objects`` needs.
    """

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []
        self.metric: BaseMetric | None = None

    def before_test_epoch(self, runner: Runner) -> None:
        metrics = runner.test_loop.evaluator.metrics
        self.metric = next(metric for metric in metrics if measures_objects(type(metric)))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: Sequence | None = None
    ) -> None:
        for (_, found), sample in zip(self.metric.results[-len(outputs) :], outputs):
            self.predictions.append(
                Prediction(
                    found['img_id'],
                    sample.img_path,
                    found['bboxes'],
                    found['labels'],
                    found['scores'],
                    found.get('masks'),
                    found.get('mask_scores'),
                )
            )

    @property
    def rules(self) -> Rules:
        metric = self.metric
        ids = metric.cat_ids, metric.img_ids
        return Rules(metric._coco_api, *ids, metric.iou_thrs, metric.proposal_nums)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in (BOXES, MASKS) if kind in self.metric.metrics]


class KeepLabelMaps(Hook):
    """Counts the pixels of each image in an analysis."""

    def __init__(self, analysis: LabelMapAnalysis) -> None:
        self.analysis = analysis

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: Sequence | None = None
    ) -> None:
        for sample in outputs:
            self.analysis.add(
                sample.img_path, _map(sample.gt_sem_seg.data), _map(sample.pred_sem_seg.data)
            )


def _map(data) -> np.ndarray:
    """(1, H, W) or (H, W) to (H, W)."""
    array = data.cpu().numpy()
    return array.reshape(array.shape[-2:])
