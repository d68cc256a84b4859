# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/label_maps.py: equal to mmseg's IoUMetric; which images are the worst."""

import json

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmconvnext.analysis.results import label_maps
from mmconvnext.analysis.results.label_maps import LabelMapAnalysis

CLASSES = ['grass', 'road', 'sky', 'sea', 'ship']  # no ship anywhere; sea is only predicted


def random_maps(count=4):
    random = np.random.default_rng(0)
    for number in range(count):
        truth = random.integers(0, 3, (8, 12 + number))
        found = np.where(
            random.random(truth.shape) < 0.6, truth, random.integers(0, 4, truth.shape)
        )
        truth[random.random(truth.shape) < 0.1] = 255
        yield f'{number}.jpg', truth, found


def analysis(maps, **options) -> LabelMapAnalysis:
    ours = LabelMapAnalysis(CLASSES, **options)
    for one in maps:
        ours.add(*one)
    return ours


@pytest.mark.parametrize('outside', [False, True])
def test_the_figures_are_those_that_a_run_logs(outside):
    maps = list(random_maps())
    if outside:  # a value that is no class
        maps[0][1][0, :5] = 77
    metric = IoUMetric()
    metric.dataset_meta = dict(classes=CLASSES)
    for _, truth, found in maps:
        sample = dict(
            pred_sem_seg=dict(data=torch.tensor(found)[None]),
            gt_sem_seg=dict(data=torch.tensor(truth)[None]),
        )
        metric.process({}, [sample])
    areas = [sum(parts) for parts in zip(*metric.results)]
    single = metric.total_area_to_metrics(*areas)
    logged = metric.evaluate(len(maps))
    ours = analysis(maps)
    np.testing.assert_allclose(ours.iou(), single['IoU'], rtol=1e-6)
    np.testing.assert_allclose(ours.accuracy(), single['Acc'], rtol=1e-6)
    assert np.isnan(ours.iou()).tolist() == [False] * 4 + [True]
    assert 0 < ours.iou()[0] < ours.accuracy()[0] < 1 and ours.iou()[3] == 0
    if not outside:
        for name, value in ours.metrics().items():
            assert 100 * value == pytest.approx(logged[name], abs=0.006), name


def test_counts_by_hand(monkeypatch):
    monkeypatch.setattr(label_maps, 'STEP', 5)  # an image in parts
    truth = np.array([[0, 0, 0, 0], [1, 1, 255, 255], [2, 2, 2, 9]])
    found = np.array([[0, 0, 1, 1], [1, 0, 1, 0], [2, 2, 2, 3]])
    ours = analysis([('a/b.png', truth, found)])
    expected = np.zeros((5, 5))
    expected[0, :2] = 2
    expected[1, :2] = 1
    expected[2, 2] = 3
    np.testing.assert_array_equal(ours.matrix, expected)
    assert ours.images == [dict(file='a/b.png', labelled=10, wrong=0.4)]
    np.testing.assert_allclose(ours.shares(), [4 / 9, 2 / 9, 3 / 9, 0, 0])
    assert ours.by_iou() == [3, 1, 0, 2]  # the sea is predicted where 9 stands
    assert ours.confusions() == [(0, 1, 0.5), (1, 0, 0.5)]


def test_the_worst_images_are_kept():
    truth = np.zeros((4, 10), int)
    maps = [(f'{wrong}.png', truth, np.where(np.arange(40).reshape(4, 10) < wrong, 1, 0))
            for wrong in (4, 0, 30, 8, 8, 20)]  # fmt: skip
    maps.append(('ignored.png', truth + 255, truth))
    ours = analysis(maps, keep=3)
    assert [(share, one.path) for share, one in ours.worst] == [
        (0.75, '30.png'), (0.5, '20.png'), (0.2, '8.png'),
    ]  # fmt: skip
    np.testing.assert_array_equal(ours.worst[0][1].predicted, maps[2][2])
    assert ours.worst[0][1].truth.dtype == np.uint8
    assert analysis(maps, keep=0).worst == []
    assert [share for share, _ in analysis(maps, keep=9).worst] == [0.75, 0.5, 0.2, 0.2, 0.1]
    content = json.loads(json.dumps(ours.to_json(), allow_nan=False))
    assert [image['wrong'] for image in content['images']][:2] == [0.75, 0.5]
    assert [i['wrong'] for i in content['images'] if i['file'] == 'ignored.png'] == [None]


def test_values_above_a_byte_are_kept():
    truth = np.array([[0, 1, 300]])
    (_, maps), *_ = analysis([('a.png', truth, np.array([[1, 1, 0]]))], ignored=300).worst
    np.testing.assert_array_equal(maps.truth, truth)


def test_the_json_file_and_the_summary():
    ours = analysis(random_maps())
    content = json.loads(json.dumps(ours.to_json(), allow_nan=False))
    assert content['task'] == 'label maps'
    assert content['metrics']['mIoU'] == pytest.approx(np.nanmean(ours.iou()), abs=1e-6)
    assert [row['name'] for row in content['classes']] == CLASSES
    assert content['classes'][4] == dict(name='ship', IoU=None, Acc=None, share=0)
    assert content['confusion']['counts'] == ours.matrix.tolist()
    metrics, classes, pairs, images = ours.summary()
    mean = 100 * np.nanmean(ours.iou())
    assert f', mIoU {mean:.2f}%, ' in metrics and 1 < mean < 99
    assert classes.startswith('worst classes: sea (IoU 0.00%, 0.0% of pixels), ')
    assert pairs.startswith('most wrong pixels: ') and ' taken for ' in pairs
    assert images.startswith('worst images: ') and '% wrong)' in images


def test_nothing_is_wrong_or_there_is_nothing():
    truth = np.zeros((2, 3), int)
    ours = analysis([('a.png', truth, truth)])
    assert ours.summary() == [
        'aAcc 100.00%, mIoU 100.00%, mAcc 100.00%',
        'worst classes: grass (IoU 100.00%, 100.0% of pixels)',
    ]
    ours = analysis([('a.png', truth + 255, truth)])
    assert ours.summary() == ['aAcc -, mIoU -, mAcc -'] and ours.worst == []
