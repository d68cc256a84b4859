# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/schedule.py: iterations, validations and checkpoints are those of mmengine's loops."""

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmconvnext.recipe.schedule import Schedule


def config(loop, batch=2, dataset=None, checkpoint=None, **settings):
    return Config(
        dict(
            train_cfg=loop,
            train_dataloader=dict(batch_size=batch, dataset=dataset or dict(type='A')),
            default_hooks=dict(checkpoint=checkpoint or dict(interval=1)),
            val_cfg=dict(),
            **settings,
        )
    )


def test_epochs():
    found = Schedule.of(
        config(dict(max_epochs=30, val_interval=10), checkpoint=dict(interval=9)), 7
    )
    assert (found.batch, found.per_epoch, found.epochs, found.iterations) == (2, 4, 30, 120)
    assert (found.validations, found.checkpoints) == (3, 4)
    assert Schedule.of(config(dict(max_epochs=3)), 7, per_epoch=3).iterations == 9


def test_iterations():
    found = Schedule.of(
        config(dict(max_iters=100, val_interval=30), checkpoint=dict(interval=40, by_epoch=False)),
        images=7,
    )
    assert (found.epochs, found.iterations, found.per_epoch) == (0, 100, 4)
    assert (found.validations, found.checkpoints) == (4, 3)


def test_data_that_are_repeated():
    dataset = dict(type='RepeatDataset', times=5, dataset=dict(type='A'))
    assert Schedule.of(config(dict(max_epochs=1), dataset=dataset), 7).per_epoch == 18


@pytest.mark.parametrize(('per_epoch', 'repeats'), [(1, 10), (3, 4), (5, 2), (10, 1)])
def test_how_often_to_repeat_them(per_epoch, repeats):
    assert Schedule.of(config(dict(max_epochs=1)), 7, per_epoch).repeats == repeats


@pytest.mark.parametrize(
    ('checkpoint', 'count'),
    [
        (dict(interval=4), 3),  # 4, 8 and the last
        (dict(interval=5), 2),
        (dict(interval=4, save_last=False), 2),
        (dict(interval=-1), 1),
        (dict(interval=-1, save_last=False), 0),
        (dict(interval=7, by_epoch=False), 6),  # of 40 iterations
    ],
    ids=str,
)
def test_checkpoints(checkpoint, count):
    assert Schedule.of(config(dict(max_epochs=10), checkpoint=checkpoint), 8).checkpoints == count


def test_a_hook_by_epoch_in_a_run_by_iterations_saves_once():
    cfg = config(dict(max_iters=10), checkpoint=dict(interval=2))
    assert Schedule.of(cfg, 8).checkpoints == 1


def test_without_validation():
    cfg = config(dict(max_epochs=3))
    cfg.val_cfg = None
    assert Schedule.of(cfg, 8).validations == 0


def test_several_processes(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '4')
    assert Schedule.of(config(dict(max_epochs=1)), 80).batch == 2
    assert Schedule.of(config(dict(max_epochs=1), launcher='pytorch'), 80).batch == 8


@pytest.mark.parametrize(
    'cfg',
    [Config({}), config(dict(type='Own')), config(dict(max_epochs=2), batch=None)],
    ids=['empty', 'loop', 'batch'],
)
def test_unknown(cfg):
    assert Schedule.of(cfg, 5) is None


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x, mode):
        return dict(loss=self.layer(torch.ones(1, 1)).sum()) if mode == 'loss' else [0]


class Nothing(Evaluator):
    def __init__(self):
        super().__init__([])

    def process(self, **_):
        pass

    def evaluate(self, _):
        return {}


class Count(Hook):
    def __init__(self):
        self.validations = 0

    def before_val(self, runner):
        self.validations += 1


@pytest.mark.parametrize(
    'loop',
    [
        dict(max_epochs=7, val_interval=3),
        dict(max_epochs=6, val_interval=3),
        dict(max_epochs=7, val_interval=2, val_begin=4),
        dict(max_epochs=9, val_interval=4, dynamic_intervals=[(6, 1)]),
        dict(max_epochs=3, val_interval=9),
    ],
    ids=str,
)
def test_validations_are_those_of_mmengine(loop, tmp_path):
    def loader():
        return torch.utils.data.DataLoader([dict(x=0), dict(x=1)], collate_fn=pseudo_collate)

    model, hook = Model(), Count()
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=loader(),
        val_dataloader=loader(),
        train_cfg=dict(by_epoch=True, **loop),
        val_cfg=dict(),
        val_evaluator=Nothing(),
        optim_wrapper=dict(optimizer=torch.optim.SGD(model.parameters(), lr=0.1)),
        default_hooks=dict(checkpoint=None, logger=None),
        custom_hooks=[hook],
        log_level='ERROR',
        experiment_name=str(tmp_path),
    )
    runner.train()
    assert Schedule.of(config(loop), 8).validations == hook.validations
