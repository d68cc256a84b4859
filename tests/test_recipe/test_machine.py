# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/machine.py: the recipe is fitted to this machine, and its effects are logged."""

import pytest
from fixtures import CASCADE, FASTER_RCNN, MASK_RCNN, UPERNET, stem
from mmengine.config import Config

from mmconvnext.recipe import machine
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.machine import fit_to_machine


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(machine.torch.cuda, 'is_available', lambda: False)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(machine.torch.cuda, 'is_available', lambda: True)


def test_mixed_precision_becomes_float32_without_a_gpu(load, no_gpu):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.update(loss_scale='dynamic', dtype='bfloat16', use_fsdp=True)
    lines = fit_to_machine(cfg, world_size=8)
    assert lines == ['No GPU: mixed precision is off, training runs in float32.']
    assert cfg.optim_wrapper.type == 'OptimWrapper'
    assert not {'loss_scale', 'dtype', 'use_fsdp'} & set(cfg.optim_wrapper)
    assert cfg.optim_wrapper.paramwise_cfg.decay_rate == 0.95
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'


def test_mixed_precision_stays_on_a_gpu(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.update(loss_scale='dynamic')
    assert fit_to_machine(cfg, world_size=8) == []
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'


def test_silent_at_the_batch_of_the_recipe(load, gpu):
    assert fit_to_machine(load(FASTER_RCNN), world_size=8) == []
    cfg = load(FASTER_RCNN)
    cfg.train_dataloader.batch_size = 16
    assert fit_to_machine(cfg, world_size=1) == []


def test_another_batch_names_accumulation_and_factor(load, gpu):
    (line,) = fit_to_machine(load(MASK_RCNN))
    assert line.startswith('Effective batch size 2, but the recipe has 16: learning rates are NOT')
    assert '--auto-scale-lr (learning rates x 0.125)' in line
    assert '--cfg-options optim_wrapper.accumulative_counts=8' in line


def test_a_batch_that_does_not_divide_the_recipes_offers_the_factor_only(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.train_dataloader.batch_size = 3
    (line,) = fit_to_machine(cfg)
    assert 'Effective batch size 3' in line and 'x 0.1875' in line
    assert 'accumulative_counts' not in line


def test_a_larger_batch_offers_the_factor_only(load, gpu):
    (line,) = fit_to_machine(load(MASK_RCNN), world_size=16)
    assert 'Effective batch size 32, but the recipe has 16' in line and 'rates x 2)' in line
    assert 'accumulative_counts' not in line


def test_accumulated_steps_count(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.accumulative_counts = 8
    assert fit_to_machine(cfg) == []
    cfg.optim_wrapper.accumulative_counts = 4
    (line,) = fit_to_machine(cfg)
    assert 'Effective batch size 8, but the recipe has 16' in line
    assert line.endswith('or --cfg-options optim_wrapper.accumulative_counts=8.')


def test_steps_that_go_beyond_the_recipes_batch_are_to_be_dropped(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.accumulative_counts = 2
    (line,) = fit_to_machine(cfg, world_size=8)
    assert 'Effective batch size 32, but the recipe has 16' in line
    assert 'use --cfg-options optim_wrapper.accumulative_counts=1.' in line


def test_scaling_says_its_factor(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.auto_scale_lr.enable = True
    assert fit_to_machine(cfg) == [
        'Effective batch size 2, but the recipe has 16: learning rates are scaled by 0.125.'
    ]
    cfg.optim_wrapper.accumulative_counts = 4
    (line,) = fit_to_machine(cfg)
    assert 'Effective batch size 8' in line and 'scaled by 0.125.' in line
    assert 'leaves the 4 accumulation steps out' in line


def test_scaling_on_top_of_accumulation_to_the_recipes_batch_is_said(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.auto_scale_lr.enable = True
    cfg.optim_wrapper.accumulative_counts = 8
    (line,) = fit_to_machine(cfg)
    assert 'scaled by 0.125.' in line and 'leaves the 8 accumulation steps out' in line


def test_scaling_at_the_batch_of_the_recipe_is_silent(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.auto_scale_lr.enable = True
    assert fit_to_machine(cfg, world_size=8) == []


def test_a_recipe_without_a_base_batch_says_nothing_about_it(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.pop('auto_scale_lr')
    assert fit_to_machine(cfg) == []


@pytest.mark.parametrize('recipe', [UPERNET, CASCADE], ids=stem)
def test_sync_bn_in_one_process_is_said(load, gpu, recipe):
    cfg = load(recipe)
    cfg.train_dataloader.batch_size = 16
    (line,) = fit_to_machine(cfg)
    assert line.startswith('One process: SyncBN becomes BN over a batch of 16 images')
    assert "norm_cfg=dict(type='GN'" in line
    cfg.train_dataloader.batch_size = 2
    assert fit_to_machine(cfg, world_size=8) == []


@pytest.mark.parametrize('kind', ['SyncBN', 'MMSyncBN', 'SyncBatchNorm', 'BN'])
def test_every_name_of_sync_bn_is_known(gpu, kind):
    cfg = Config(
        dict(
            model=dict(decode_head=[dict(norm_cfg=dict(type=kind))]),
            optim_wrapper=dict(type='OptimWrapper'),
            train_dataloader=dict(batch_size=3),
        )
    )
    found = [line[:56] for line in fit_to_machine(cfg)]
    assert found == ['One process: SyncBN becomes BN over a batch of 3 images,'] * (kind != 'BN')
    assert fit_to_machine(cfg, world_size=2) == []


def test_no_sync_bn_no_line(load, gpu):
    cfg = load(MASK_RCNN)
    cfg.train_dataloader.batch_size = 16
    assert fit_to_machine(cfg) == []


def test_a_config_without_training_needs_nothing():
    cfg = Config(dict(model=dict(type='X', norm_cfg=dict(type='SyncBN'))))
    before = cfg.to_dict()
    assert fit_to_machine(cfg) == []
    assert cfg.to_dict() == before


@pytest.mark.parametrize('size', [0, -1, 1.5, '4', None])
def test_a_batch_size_that_is_none(load, gpu, size):
    cfg = load(MASK_RCNN)
    cfg.train_dataloader.batch_size = size
    with pytest.raises(RecipeError, match=rf'train_dataloader.batch_size={size!r}: choose a whole'):
        fit_to_machine(cfg)
    del cfg.train_dataloader.batch_size  # of a batch sampler
    assert fit_to_machine(cfg) == []
