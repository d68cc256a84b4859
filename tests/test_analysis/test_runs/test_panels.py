# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/runs/panels.py: what is drawn, and what is said."""

import math

import pytest
from mmengine.config import Config

from mmconvnext.analysis.runs.log import Run
from mmconvnext.analysis.runs.panels import choose_panels, describe
from mmconvnext.recipe.errors import RecipeError


def detector(name='a', **config):
    values = dict(lr=0.1, data_time=0.1, loss=1.0, loss_cls=0.6, loss_bbox=0.4, acc=50.0, time=0.5)
    metrics = {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5, 'coco/segm_mAP': 0.125}
    train = [dict(values, iter=i, step=i) for i in (10, 20)]
    return Run(name, train, [(20, {**metrics, 'time': 1.0})], config=config or None)


def test_panels_of_one_run():
    assert [(panel.title, panel.keys) for panel in choose_panels([detector()])] == [
        ('loss', ['loss']),
        ('parts of the loss', ['loss_cls', 'loss_bbox']),
        ('learning rate', ['lr']),
        ('mAP', ['coco/bbox_mAP', 'coco/segm_mAP']),
        ('seconds per iteration', ['time', 'data_time']),
    ]


def test_panels_of_several_runs_have_no_parts():
    segmentor = Run('b', [dict(loss=1.0, iter=1)], [(1, dict(mIoU=20.0, aAcc=30.0))])
    titles = [panel.title for panel in choose_panels([detector(), segmentor])]
    assert titles == ['loss', 'learning rate', 'mAP', 'mIoU', 'seconds per iteration']
    assert choose_panels([detector(), segmentor])[-1].keys == ['time']


def test_metrics_that_are_not_known_are_all_drawn():
    run = Run('a', [dict(loss=1.0, iter=1)], [(1, dict(recall=1.0, precision=2.0))])
    assert choose_panels([run])[-1] == ('metrics', ['recall', 'precision'])


def test_several_optimizers():
    run = Run('a', [{'loss': 1.0, 'gen.lr': 0.1, 'dis.lr': 0.2, 'iter': 1}])
    assert choose_panels([run])[-1] == ('learning rates', ['gen.lr', 'dis.lr'])


@pytest.mark.parametrize(
    ('pattern', 'keys'),
    [
        ('loss', ['loss']),
        ('loss_cls', ['loss_cls']),
        ('mAP', ['coco/bbox_mAP', 'coco/segm_mAP']),
        ('bbox_mAP', ['coco/bbox_mAP']),
        ('loss_*', ['loss_cls', 'loss_bbox']),
        ('*_mAP*', ['coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP']),
    ],
)
def test_chosen_keys(pattern, keys):
    assert choose_panels([detector()], [pattern]) == [(pattern, keys)]


def test_a_key_that_nothing_has():
    with pytest.raises(
        RecipeError, match='--keys nix: the logs hold no such quantity; they have lr, '
    ):
        choose_panels([detector()], ['loss', 'nix'])


def test_nothing_is_logged_yet():
    with pytest.raises(RecipeError, match='nothing is logged yet: .*interval'):
        choose_panels([Run('a')])


def test_what_is_said_of_a_run():
    run = detector(train_cfg=dict(max_iters=1220))
    run.val.append((30, {'coco/bbox_mAP': 0.2, 'coco/segm_mAP': math.nan}))
    run.train[0]['loss'] = math.nan
    assert describe(run) == [
        'a: 20 of 1220 iterations, loss 1, 0.5 s per iteration, at least 10 min left if it is '
        'running',
        '  coco/bbox_mAP: last 0.2, best 0.25 at iteration 20',
        '  coco/segm_mAP: last 0.125, best 0.125 at iteration 20',
        '  loss is NaN or infinite at iteration 10',
        '  coco/segm_mAP is NaN or infinite at iteration 30',
    ]


@pytest.mark.parametrize(
    ('length', 'end'),
    [(20, 's per iteration'), (21, 'at least 1 min left if it is running'),
     (24020, 'at least 3.3 h left if it is running'), (None, 's per iteration')],
)  # fmt: skip
def test_time_left(length, end):
    run = detector(train_cfg=dict(max_iters=length)) if length else detector()
    first = describe(run)[0]
    assert first.endswith(end) and first.startswith('a: 20 of' if length else 'a: 20 iterations')


def test_many_bad_values_are_one_line():
    run = Run('a', [dict(loss=math.inf, iter=i) for i in (3, 4)] + [dict(loss=1.0, iter=5)])
    assert describe(run)[-1] == '  loss is NaN or infinite from iteration 3 on, in 2 rows'


@pytest.mark.parametrize('time', [float('nan'), float('inf')])
def test_a_time_that_is_no_number_tells_nothing(time):
    row = dict(loss=1.0, iter=5, step=5, time=time)
    run = Run('r', [row], config=Config(dict(train_cfg=dict(max_iters=9))))
    assert describe(run)[0] == 'r: 5 of 9 iterations, loss 1'
