# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/toy_schedule.py: a schedule keeps its proportions, in epochs or in iterations."""

import pytest
from fixtures import public_config
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.toy_schedule import shorten


def schedule(base: str, **changes) -> Config:
    cfg = Config.fromfile(public_config(base))
    for key, value in changes.items():
        cfg[key] = value
    shorten(cfg, 7, 1600, 0.5)
    return cfg


def steps(scheduler: dict) -> tuple:
    return scheduler.type, scheduler.get('begin'), scheduler.get('end')


def test_epochs_with_a_warmup_by_iteration_and_a_second_pipeline():
    cfg = schedule('mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py')
    warmup, cosine = cfg.param_scheduler
    assert steps(warmup) == ('LinearLR', 0, 50)
    assert steps(cosine) == ('CosineAnnealingLR', 4, 7) and cosine.T_max == 3  # of 150 to 300
    assert cosine.eta_min == pytest.approx(0.004 * 0.05 * 0.5)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (7, 7)
    assert 'dynamic_intervals' not in cfg.train_cfg
    ema, switch = cfg.custom_hooks
    assert switch.switch_epoch == 6  # of 280 of 300: the last epoch has the second pipeline
    assert ema.momentum == 0.0002
    assert cfg.default_hooks.checkpoint.interval == 7


def test_epochs_with_a_warmup_by_epoch():
    cfg = schedule('mmdet::yolox/yolox_s_8xb8-300e_coco.py')
    # The constant end, 15 of 300 epochs, is less than half an epoch of 7 and vanishes.
    expected = [('mmdet.QuadraticWarmupLR', 0, 1), ('CosineAnnealingLR', 1, 7)]
    assert [steps(node) for node in cfg.param_scheduler] == expected
    assert cfg.custom_hooks[0].num_last_epochs == 1


def test_iterations_with_one_scheduler():
    cfg = schedule('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py')
    (multistep,) = cfg.param_scheduler
    assert steps(multistep) == ('MultiStepLR', 0, 1600)
    assert multistep.milestones == [1422, 1541]  # of 368750: 327778, 355092
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (1600, 1600)
    assert 'dynamic_intervals' not in cfg.train_cfg


def shortened(train_cfg, schedulers=None, hooks=None, **lr_factor) -> Config:
    cfg = Config(dict(train_cfg=train_cfg, default_hooks=dict(checkpoint=dict(interval=3))))
    if schedulers is not None:
        cfg.param_scheduler = schedulers
    if hooks is not None:
        cfg.custom_hooks = hooks
    shorten(cfg, 7, 1600, **lr_factor)
    return cfg


EPOCHS, ITERATIONS = dict(max_epochs=100), dict(max_iters=32000)  # to 7 epochs, 1600 iterations
WARMUP = dict(type='ConstantLR', by_epoch=False, begin=0, end=500)


def whole(kind, end, **given) -> dict:
    return dict(type=kind, begin=0, end=end, **given)


@pytest.mark.parametrize(
    ('train_cfg', 'given', 'expected'),
    [
        # Schedulers count epochs unless they say otherwise, and may lack begin, end or both.
        (EPOCHS, [dict(milestones=[50, 100])], [dict(milestones=[4, 7])]),
        (EPOCHS, [dict(end=5)], [dict(end=1)]),
        (EPOCHS, [dict(begin=40, end=100, T_max=60)], [dict(begin=3, end=7, T_max=4)]),
        (EPOCHS, [dict(end=100, T_max=100)], [dict(end=7, T_max=7)]),
        (EPOCHS, [dict(end=100, T_max=30)], [dict(end=7, T_max=2)]),
        (EPOCHS, [dict(T_max=30, total_steps=60)], [dict(T_max=2, total_steps=4)]),
        (EPOCHS, [dict(periods=[30, 70])], [dict(periods=[2, 5])]),
        (EPOCHS, [dict(begin=99, end=100), dict(gamma=0.1)], [dict(gamma=0.1)]),
        (EPOCHS, None, []),
        (ITERATIONS, dict(by_epoch=False, end=16000), [dict(by_epoch=False, end=800)]),
        # Warm-ups get 50 iterations; what begins at their end, 50 too, but only in iterations.
        (
            ITERATIONS,
            [WARMUP, dict(type='Poly', by_epoch=False, begin=500, end=32000, T_max=31500)],
            [
                {**WARMUP, 'end': 50},
                dict(type='Poly', by_epoch=False, begin=50, end=1600, T_max=1550),
            ],
        ),
        (
            EPOCHS,
            [{**WARMUP, 'type': 'QuadraticWarmupLR', 'end': 50}, dict(begin=50, end=100)],
            [{**WARMUP, 'type': 'QuadraticWarmupLR', 'end': 50}, dict(begin=4, end=7)],
        ),
        # The length of a run by epoch in iterations is the end of the last scheduler.
        (
            EPOCHS,
            [WARMUP, dict(by_epoch=False, gamma=2), dict(by_epoch=False, begin=500, end=90000)],
            [
                {**WARMUP, 'end': 50},
                dict(by_epoch=False, gamma=2),
                dict(by_epoch=False, begin=50, end=1600),
            ],
        ),
        # No warm-ups: another kind, one that begins later, one without an end, one by epoch, one
        # over the whole run.
        *[
            (ITERATIONS, [{**WARMUP, **change}], [{**WARMUP, **expected}])
            for change, expected in (
                (dict(type='StepLR'), dict(type='StepLR', end=25)),
                (dict(begin=100), dict(begin=5, end=25)),
                (dict(end=None), dict(end=None)),
                (dict(type='LinearLR', end=32000), dict(type='LinearLR', end=1600)),
            )
        ],
        (
            EPOCHS,
            [{**WARMUP, 'by_epoch': True, 'end': 20}],
            [{**WARMUP, 'by_epoch': True, 'end': 1}],
        ),
    ],
)
def test_a_scheduler_keeps_its_place(train_cfg, given, expected):
    typed = [given] if isinstance(given, dict) else given
    typed = typed and [dict(dict(type='Step'), **node) for node in typed]
    cfg = shortened(train_cfg, typed[0] if isinstance(given, dict) else typed)
    assert cfg.to_dict()['param_scheduler'] == [dict(dict(type='Step'), **n) for n in expected]


@pytest.mark.parametrize(
    ('train_cfg', 'given', 'expected'),
    [
        (
            EPOCHS,
            dict(switch_epoch=50, num_last_epochs=30, begin_epoch=20, stop_epoch=90),
            dict(switch_epoch=4, num_last_epochs=2, begin_epoch=1, stop_epoch=6),
        ),
        (
            ITERATIONS,
            dict(switch_iter=16000, num_last_iters=640, begin_iter=2000),
            dict(switch_iter=800, num_last_iters=32, begin_iter=100),
        ),
        (EPOCHS, dict(begin_epoch=0, switch_epoch=1), dict(begin_epoch=0, switch_epoch=1)),
        (EPOCHS, dict(switch_epoch=100), dict(switch_epoch=6)),  # it still acts
        (ITERATIONS, dict(switch_iter=31999), dict(switch_iter=1599)),
        (EPOCHS, dict(begin_iter=20, stop_epoch=None), dict(begin_iter=20, stop_epoch=None)),
        (ITERATIONS, dict(begin_epoch=20), dict(begin_epoch=20)),
    ],
)
def test_a_hook_acts_where_it_did(train_cfg, given, expected):
    hooks = [dict(type='Other'), dict(type='Mine', inner=[given])]
    assert shortened(train_cfg, hooks=hooks).custom_hooks[1].inner[0] == expected


@pytest.mark.parametrize(
    ('train_cfg', 'length'), [(EPOCHS, dict(max_epochs=7)), (ITERATIONS, dict(max_iters=1600))]
)
def test_one_validation_and_one_checkpoint_at_the_end(train_cfg, length):
    given = dict(type='Loop', **train_cfg, val_interval=5, val_begin=90)
    given['dynamic_intervals'] = [(90, 1)]
    cfg = shortened(given)
    (end,) = length.values()
    assert cfg.train_cfg == dict(type='Loop', val_interval=end, **length)
    assert cfg.default_hooks.checkpoint.interval == end


def test_the_lowest_rate_follows_the_rate():
    given = [whole('Cosine', 100, eta_min=0.01), whole('Cosine', 100)]
    assert shortened(EPOCHS, given).param_scheduler[0].eta_min == 0.01
    cfg = shortened(EPOCHS, given, lr_factor=0.25)
    assert cfg.param_scheduler[0].eta_min == 0.0025 and 'eta_min' not in cfg.param_scheduler[1]


def test_a_run_without_a_length_is_refused():
    match = r"max_epochs or max_iters; train_cfg=\{'type': 'Mine'\} has neither.*own_data$"
    with pytest.raises(RecipeError, match=match):
        shortened(dict(type='Mine'))
