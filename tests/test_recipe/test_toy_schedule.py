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


def test_what_follows_a_warmup_begins_where_it_ends():
    cfg = schedule('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py')
    assert list(map(steps, cfg.param_scheduler)) == [('LinearLR', 0, 50), ('PolyLR', 50, 1600)]


def test_a_linear_decay_over_the_whole_run_is_no_warmup():
    decay = dict(type='LinearLR', start_factor=1.0, end_factor=0.0, begin=0, end=160000)
    cfg = schedule(
        'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
        param_scheduler=dict(decay, by_epoch=False),
    )
    assert list(map(steps, cfg.param_scheduler)) == [('LinearLR', 0, 1600)]


def test_a_decay_by_iteration_in_a_run_by_epoch():
    decay = dict(type='CosineAnnealingLR', by_epoch=False, begin=500, end=90000, T_max=89500)
    warmup = dict(type='LinearLR', by_epoch=False, begin=0, end=500)
    cfg = schedule('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', param_scheduler=[warmup, decay])
    warmup, cosine = cfg.param_scheduler
    assert (steps(warmup)[1:], steps(cosine)[1:]) == ((0, 50), (50, 1600))
    assert cosine.T_max == 1550


def test_a_run_without_a_length_is_refused():
    with pytest.raises(RecipeError, match=r"train_cfg=\{'type': 'Mine'\} has neither"):
        schedule('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', train_cfg=dict(type='Mine'))
