# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/keep.py: the metric's own arrays, in the order of the images."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric, LVISMetric, VOCMetric

from mmconvnext.analysis.results.coco import BOXES, MASKS
from mmconvnext.analysis.results.keep import KeepLabelMaps, KeepObjects, measures_objects
from mmconvnext.analysis.results.label_maps import LabelMapAnalysis


class Own(CocoMetric):
    """Of a user."""


@pytest.mark.parametrize(
    ('metric', 'fits'), [(CocoMetric, True), (Own, True), (LVISMetric, False), (VOCMetric, False)]
)
def test_which_metrics_measure_as_coco(metric, fits):
    assert measures_objects(metric) == fits


def runner(*metrics):
    return SimpleNamespace(test_loop=SimpleNamespace(evaluator=SimpleNamespace(metrics=metrics)))


def sample(image: int, scores, **extra) -> tuple[dict, SimpleNamespace]:
    count = len(scores)
    instances = dict(
        bboxes=torch.arange(4.0 * count).reshape(count, 4) + image,
        scores=torch.tensor(scores),
        labels=torch.arange(count),
        **extra,
    )
    data = dict(pred_instances=instances, img_id=image, ori_shape=(64, 96), instances=[])
    return data, SimpleNamespace(img_path=f'{image}.png')


def test_what_the_metric_gets_is_kept():
    metric = CocoMetric(metric=['segm', 'bbox'])
    keep = KeepObjects()
    keep.before_test_epoch(runner(VOCMetric(), metric))
    for batch in ([sample(3, [0.5, 0.25]), sample(1, [])], [sample(2, [0.75])]):
        metric.process({}, [data for data, _ in batch])
        keep.after_test_iter(None, 0, None, [shown for _, shown in batch])
    first, second, third = keep.predictions
    assert [one.image_id for one in keep.predictions] == [3, 1, 2]
    assert [one.path for one in keep.predictions] == ['3.png', '1.png', '2.png']
    assert first.boxes is metric.results[0][1]['bboxes'] and first.masks is None
    assert first.scores.tolist() == [0.5, 0.25] and third.labels.tolist() == [0]
    assert second.boxes.shape == (0, 4)
    assert keep.kinds == [BOXES, MASKS]


def test_masks_are_kept_as_run_lengths():
    metric, keep = CocoMetric(metric='bbox'), KeepObjects()
    keep.before_test_epoch(runner(metric))
    masks = torch.zeros(1, 64, 96, dtype=torch.bool)
    data, shown = sample(1, [0.5], masks=masks, mask_scores=torch.tensor([0.25]))
    metric.process({}, [data])
    keep.after_test_iter(None, 0, None, [shown])
    (one,) = keep.predictions
    assert set(one.masks[0]) == {'size', 'counts'} and one.mask_scores.tolist() == [0.25]
    assert keep.kinds == [BOXES]


@pytest.mark.parametrize('shape', [(1, 2, 3), (2, 3)])
def test_label_maps_are_counted(shape):
    analysis = LabelMapAnalysis(['a', 'b'])
    truth, found = torch.zeros(shape, dtype=torch.int64), torch.ones(shape, dtype=torch.int64)
    outputs = [
        SimpleNamespace(
            img_path='x.jpg',
            gt_sem_seg=SimpleNamespace(data=truth),
            pred_sem_seg=SimpleNamespace(data=found),
        )
    ]
    KeepLabelMaps(analysis).after_test_iter(None, 0, None, outputs)
    np.testing.assert_array_equal(analysis.matrix, [[0, 6], [0, 0]])
    assert analysis.worst[0][1].truth.shape == (2, 3)
