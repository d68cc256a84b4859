# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""checks/amounts.py: few images and schedules that do not fit them are told."""

import pytest
from fixtures import MASK_RCNN, UPERNET

from mmconvnext.recipe.checks.amounts import check_amounts
from mmconvnext.recipe.data_table import Split
from mmconvnext.recipe.walk import LOADERS


def told(cfg, train, val, loaders=LOADERS):
    rows = [Split(n, 'a', c, c) for n, c in (('train', train), ('val', val)) if c is not None]
    findings = list(check_amounts(cfg, loaders, rows))
    assert not any(finding.check for finding in findings)
    return [finding.text for finding in findings]


@pytest.fixture
def cfg(load):
    cfg = load(MASK_RCNN)
    cfg.train_dataloader.batch_size = 4
    cfg.train_cfg.max_epochs = 36
    cfg.param_scheduler = [dict(type='LinearLR', by_epoch=False, begin=0, end=300)]
    return cfg


def test_enough(cfg):
    assert told(cfg, 37, 10) == []


@pytest.mark.parametrize(('count', 'text'), [(9, '9 images, so'), (1, '1 image, so')])
def test_few_images_to_validate_on(cfg, count, text):
    (line,) = told(cfg, 40, count)
    assert line.startswith(f'val has {text} its metrics are noisy')
    assert told(cfg, 40, count, LOADERS[2:]) == []  # a test


def test_short_epochs(cfg):
    (line,) = told(cfg, 36, 10)
    assert line.startswith('an epoch has 9 iterations (36 images, 4 in a batch), so 36 epochs are')
    assert "dict(type='RepeatDataset', times=2" in line
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset
    )
    assert told(cfg, 36, 10) == []


def test_runs_by_iterations_have_no_epochs(load):
    assert told(load(UPERNET), 3, 10) == []


def test_a_warm_up_of_the_whole_run(cfg):
    cfg.train_cfg.max_epochs = 31
    assert told(cfg, 40, 10) == []  # 300 of 310 iterations
    cfg.train_cfg.max_epochs = 30
    (line,) = told(cfg, 40, 10)
    assert line.startswith('param_scheduler.0: the warm-up lasts 300 iterations of 300, so the ')
    assert line.endswith('set param_scheduler.0.end=30')
    cfg.param_scheduler = cfg.param_scheduler[0]
    assert len(told(cfg, 40, 10)) == 1
    cfg.param_scheduler = [dict(type='LinearLR', by_epoch=True, begin=0, end=29), object()]
    assert told(cfg, 40, 10) == []
    cfg.param_scheduler[0].end = 30
    assert '30 epochs of 30' in told(cfg, 40, 10)[0]


def test_a_rate_that_falls_until_after_the_run(cfg):
    cosine = dict(type='CosineAnnealingLR', begin=0, end=12, T_max=12, by_epoch=True)
    cfg.param_scheduler, cfg.train_cfg.max_epochs = [cosine], 12
    assert told(cfg, 40, 10) == []
    cfg.train_cfg.max_epochs = 11
    (line,) = told(cfg, 40, 10)
    assert line.startswith(
        'param_scheduler.0: CosineAnnealingLR falls until 12 epochs, but the run'
    )
    assert line.endswith('set param_scheduler.0.end=11 and param_scheduler.0.T_max=11')
    cfg.param_scheduler = [dict(type='PolyLR', begin=0, end=111, by_epoch=False)]
    assert told(cfg, 40, 10)[0].endswith('set param_scheduler.0.end=110')
    cfg.param_scheduler[0].end = 110
    assert told(cfg, 40, 10) == []
    cfg.param_scheduler = [dict(type='PolyLR', begin=0, by_epoch=False)]  # no end: the whole run
    assert told(cfg, 40, 10) == []


def test_data_that_were_not_read_are_not_judged(cfg):
    assert told(cfg, None, None) == []
    dataset = cfg.val_dataloader.dataset
    cfg.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[dataset, dataset])
    assert told(cfg, 40, 3) == []  # one of two
