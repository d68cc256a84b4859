# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/coco.py: equal to mmdet's CocoMetric; thresholds by hand."""

import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric

from mmconvnext.analysis.results.coco import (
    BOXES,
    MASKS,
    SIZES,
    STATS,
    Prediction,
    Ranked,
    best_threshold,
    evaluate,
    f1_curve,
    size_of,
)

from .. import detections
from ..detections import CLASSES, OBJECTS, THRESHOLDS, found, prediction, rules, truth


def random_case():
    """Objects and noisy predictions of them, with crowds and doubles."""
    random = np.random.default_rng(1)
    objects, predictions = [], []
    for image in range(1, 5):
        rows = []
        for _ in range(random.integers(3, 8)):
            x, y = random.integers(0, 50), random.integers(0, 30)
            box = (x, y, x + random.integers(6, 46), y + random.integers(6, 34))
            label = int(random.integers(0, 2))
            objects.append((image, label, tuple(map(int, box)), int(random.random() < 0.15)))
            for _ in range(random.integers(0, 3)):
                moved = np.clip(np.array(box) + random.integers(-4, 5, 4), 0, [92, 60, 96, 64])
                moved[2:] = np.maximum(moved[2:], moved[:2] + 1)
                rows.append((label if random.random() < 0.8 else 2, random.random(), moved))
        predictions.append((image, rows))
    return objects, predictions


def metric_results(coco, predictions, tmp_path) -> dict:
    """What CocoMetric logs."""
    file = tmp_path / 'truth.json'
    file.write_text(json.dumps(coco.dataset))
    metric = CocoMetric(str(file), ['bbox', 'segm'], classwise=True)
    metric.dataset_meta = dict(classes=CLASSES)
    for one in predictions:
        instances = dict(
            bboxes=torch.tensor(one.boxes),
            scores=torch.tensor(one.scores),
            labels=torch.tensor(one.labels),
            masks=[dict(mask) for mask in one.masks],
        )
        sample = dict(pred_instances=instances, img_id=one.image_id, ori_shape=(64, 96))
        metric.process({}, [sample])
    return metric.evaluate(size=len(predictions))


@pytest.mark.parametrize('kind', [BOXES, MASKS])
def test_the_figures_are_those_that_a_run_logs(kind, tmp_path):
    objects, rows = random_case()
    coco, predictions = truth(objects), [prediction(*row) for row in rows]
    logged = metric_results(coco, predictions, tmp_path)
    ours = evaluate(rules(coco), predictions, kind, 0.5)
    assert list(ours.stats) == list(STATS)
    for name, key in zip(STATS, ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']):
        value = logged[f'coco/{kind}_{key}']
        assert np.nan_to_num(ours.stats[name], nan=-1) == pytest.approx(value, abs=6e-4), name
    assert 0.1 < ours.stats['AP'] < 0.9 and ours.stats['AP'] < ours.stats['AP50']
    means = [row['AP'] for row in ours.classes]
    assert np.nanmean(means) == pytest.approx(ours.stats['AP'])
    assert np.isnan(means[2]) and means[0] != pytest.approx(means[1], abs=0.01)


def test_classes_are_those_of_a_classwise_metric(tmp_path, monkeypatch):
    """With ids in their order: else CocoMetric calls a class by the name of another."""
    monkeypatch.setattr(detections, 'IDS', [3, 5, 7])
    objects, rows = random_case()
    coco = detections.truth(objects)
    predictions = [detections.prediction(*row) for row in rows]
    logged = metric_results(coco, predictions, tmp_path)
    ours = evaluate(detections.rules(coco), predictions, MASKS, 0.5)
    for name, row in zip(CLASSES[:2], ours.classes):
        assert row['AP'] == pytest.approx(logged[f'coco/{name}_precision'], abs=6e-4)


def test_ids_in_any_order_give_the_same(monkeypatch):
    objects, rows = random_case()
    results = []
    for ids in ([3, 5, 7], [7, 3, 5]):
        monkeypatch.setattr(detections, 'IDS', ids)
        predictions = [detections.prediction(*row) for row in rows]
        results.append(
            evaluate(detections.rules(detections.truth(objects)), predictions, BOXES, 0.5)
        )
    first, second = results
    np.testing.assert_equal(first.classes, second.classes)
    np.testing.assert_equal(first.curves, second.curves)
    np.testing.assert_equal(first.ranked, second.ranked)


@pytest.mark.parametrize('kind', [BOXES, MASKS])
def test_ranked_predictions_by_hand(kind):
    ours = evaluate(rules(truth(OBJECTS)), found(), kind, 0.5)
    cat, dog, emu = ours.ranked
    assert (cat.objects, dog.objects, emu.objects) == (2, 3, 0)
    assert cat.scores == pytest.approx([0.9, 0.6]) and cat.right.tolist() == [True, False]
    # The dog of 0.95 lies in a region to ignore.
    assert dog.scores == pytest.approx([0.8, 0.7, 0.55, 0.3])
    assert dog.right.tolist() == [True, False, False, True]
    assert emu.right.tolist() == [False]
    (recall, curve) = np.linspace(0, 1, 101), ours.curves[0.5]
    np.testing.assert_allclose(curve[0], np.where(recall <= 0.5, 1, 0))
    assert np.isnan(curve[2]).all() and curve.shape == (3, 101)


@pytest.mark.parametrize('iou, right', [(0.96, [True, False]), (0.97, [False, False])])
def test_any_iou_may_be_asked_for(iou, right):
    """Of the class that is found with 50 of 52 rows; COCO's thresholds end at 0.95."""
    ours = evaluate(rules(truth(OBJECTS)), found(), BOXES, iou)
    assert ours.ranked[1].right[[0, 3]].tolist() == [right[0], True]
    usual = evaluate(rules(truth(OBJECTS)), found(), BOXES, 0.5)
    np.testing.assert_equal(ours.stats, usual.stats)


def test_no_prediction_at_all():
    nothing = [one._replace(**empty()) for one in found()]
    ours = evaluate(rules(truth(OBJECTS)), nothing, MASKS, 0.5)
    assert ours.stats['AP'] == 0 and np.isnan(ours.stats['AP_large'])
    assert [len(one.scores) for one in ours.ranked] == [0, 0, 0]
    assert [one.objects for one in ours.ranked] == [2, 3, 0]


def empty() -> dict:
    none = np.zeros(0)
    return dict(boxes=np.zeros((0, 4)), labels=none.astype(int), scores=none, masks=[])


def test_thresholds_of_the_config():
    ours = evaluate(rules(truth(OBJECTS), [0.5, 0.6]), found(), BOXES, 0.5)
    assert list(ours.curves) == [0.5] and np.isnan(ours.classes[0]['AP75'])
    assert ours.classes[0]['AP50'] == pytest.approx(51 / 101)
    assert len(evaluate(rules(truth(OBJECTS)), found(), BOXES, 0.5).curves) == 2 <= len(THRESHOLDS)


def test_masks_may_have_their_own_scores():
    one = found()[0]
    two = Prediction(*one[:6], mask_scores=one.scores[::-1])
    assert two.scores_of(BOXES) is two.scores and two.scores_of(MASKS) is two.mask_scores
    assert one.scores_of(MASKS) is one.scores
    ours = evaluate(rules(truth(OBJECTS)), [two], MASKS, 0.5)
    assert ours.ranked[0].scores == pytest.approx([0.8, 0.3])


def test_sizes():
    values = [0, 1023.9, 1024, 9215.9, 9216]
    assert [size_of(area) for area in values] == ['small', 'small', 'medium', 'medium', 'large']
    assert SIZES == ('small', 'medium', 'large')


def ranked(scores, right, objects):
    return Ranked(np.array(scores), np.array(right, bool), objects)


def test_the_best_threshold():
    parts = [ranked([0.9, 0.5, 0.2], [1, 1, 0], 2), ranked([0.7, 0.5], [0, 1], 2)]
    curve = f1_curve(parts)
    np.testing.assert_array_equal(curve['score'], [0.9, 0.7, 0.5, 0.2])  # 0.5 stands once
    np.testing.assert_allclose(curve['precision'], [1, 1 / 2, 3 / 4, 3 / 5])
    np.testing.assert_allclose(curve['recall'], [1 / 4, 1 / 4, 3 / 4, 3 / 4])
    np.testing.assert_allclose(curve['f1'], [2 / 5, 2 / 6, 6 / 8, 6 / 9])
    assert best_threshold(parts) == dict(score=0.5, f1=0.75, precision=0.75, recall=0.75)


@pytest.mark.parametrize('scores, objects', [([], 3), ([0.5], 3), ([0.5], 0), ([], 0)])
def test_no_threshold_is_best_if_nothing_is_right(scores, objects):
    assert best_threshold([ranked(scores, [False] * len(scores), objects)]) is None
