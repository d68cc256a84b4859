# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/objects.py: what `analysis.json` holds, and the words."""

import json

import numpy as np
import pytest
from detections import CLASSES, OBJECTS, found, rules, truth

from mmconvnext.analysis.results.coco import BOXES, MASKS
from mmconvnext.analysis.results.objects import analyze_objects, mean, text


def analysis(kinds=(BOXES, MASKS), predictions=None, score=0.5):
    return analyze_objects(
        rules(truth(OBJECTS)), found('a b/') if predictions is None else predictions,
        CLASSES, kinds, score=score, iou=0.5,
    )  # fmt: skip


def test_the_json_file():
    ours = analysis()
    content = json.loads(json.dumps(ours.to_json(), allow_nan=False))
    assert (content['task'], content['matched']) == ('objects', 'segm')
    assert (content['score'], content['iou']) == (0.5, 0.5)
    assert sorted(content['metrics']) == ['bbox', 'segm']
    assert content['metrics']['segm']['AP_large'] is None
    cat, dog, emu = content['classes']
    assert (cat['name'], cat['objects'], dog['objects'], emu['objects']) == ('cat', 2, 3, 0)
    assert cat['objects_by_size'] == dict(small=1, medium=1, large=0)
    assert (cat['precision'], cat['recall']) == (0.5, 0.5)
    assert (dog['precision'], dog['recall']) == pytest.approx((1 / 3, 1 / 3), abs=1e-6)
    assert emu['precision'] == 0 and emu['recall'] is None and emu['best_threshold'] is None
    assert cat['best_threshold']['score'] == pytest.approx(0.9)
    assert cat['segm']['AP50'] == pytest.approx(51 / 101, abs=1e-6)
    assert dog['bbox']['AP'] == pytest.approx((34 + 33 / 2) / 101, abs=1e-6)
    assert content['confusion']['names'] == [*CLASSES, 'background']
    assert content['confusion']['counts'][1] == [0, 1, 0, 2]
    assert content['mistakes'] == {
        'right': 2, 'missed': 2, 'wrong class': 1, 'duplicate': 1, 'misplaced': 1, 'background': 1,
    }  # fmt: skip
    assert content['sizes']['medium']['objects'] == 3
    assert content['sizes']['small']['objects'] == 2
    curve = content['curves']['0.50']
    assert len(curve['mean']) == 101 == len(curve['classes'][0]) and curve['mean'][0] == 1
    assert curve['classes'][2] == [None] * 101
    assert [image['mistakes'] for image in content['images']] == [2, 2, 1, 1]
    assert content['images'][0]['file'] == 'a b/1.png' and content['images'][0]['right'] == 2


@pytest.mark.parametrize('kinds, matched', [([BOXES], BOXES), ([MASKS], MASKS)])
def test_what_is_matched(kinds, matched):
    ours = analysis(kinds)
    assert ours.kind == matched and list(ours.evaluations) == kinds


def test_the_summary_names_what_is_worst():
    boxes, masks, counts, *lines = analysis().summary()
    assert boxes.startswith('boxes: AP 0.') and 'AP_large -' in masks
    expected = '2 right, 2 missed, 1 wrong class, 1 duplicate, 1 misplaced, 1 background'
    assert counts == f'masks with score >= 0.5, IoU >= 0.5: {expected}'
    worst, confused, best, images = lines
    assert worst.startswith('worst classes: dog (AP 0.500, 3 objects), cat (AP 0.')
    assert confused == 'classes that are confused: cat taken for dog (1)'
    assert best.startswith('best score threshold: 0.80 with F1 0.500 (precision 0.667, recall 0.4')
    assert best.endswith('at 0.5 F1 is 0.364')
    assert images == 'images with most mistakes: 1.png (2), 3.png (2), 2.png (1)'


def test_f1_counts_what_has_the_score():
    """Of five objects; an emu of 0.99 is false, a cat of 0.9 is right."""
    assert analysis(score=0.9).f1() == pytest.approx(2 * 1 / (2 + 5))
    assert analysis(score=0.91).f1() == analysis(score=0.995).f1() == 0


def test_nothing_is_found():
    none = [one._replace(boxes=np.zeros((0, 4)), labels=np.zeros(0, int), scores=np.zeros(0),
                         masks=[]) for one in found()]  # fmt: skip
    ours = analysis(predictions=none)
    assert ours.best() is None and ours.confusions() == [] and ours.mistakes()['missed'] == 5
    assert not [line for line in ours.summary() if 'threshold' in line or 'confused' in line]
    json.dumps(ours.to_json(), allow_nan=False)


def test_the_mean_is_of_classes_that_occur():
    curves = np.array([[1, 0.5], [np.nan, np.nan], [0, 0]])
    np.testing.assert_array_equal(mean(curves), [0.5, 0.25])
    assert np.isnan(mean(curves[1:2])).all()
    assert text(float('nan')) == '-' and text(0.12345) == '0.123'
