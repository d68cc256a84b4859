# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What hooks and modules remember goes on where it was; what is listed exists in the packages."""

import inspect
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.models import BatchSyncRandomResize, DDODHead, DynamicRoIHead
from mmdet.models.layers import DropBlock
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.registry import MODELS
from resume_runs import ResumeModel, assert_equal, config, stopped, train

from mmconvnext.checkpoint.whole import RESUME, look
from mmconvnext.resume.memory import OF_HOOKS, OF_MODULES, collect_memory, restore_memory


@MODELS.register_module(force=True)
class ResumeDrops(ResumeModel):
    """Drops more from iteration to iteration: DropBlock counts them itself."""

    def __init__(self):
        super().__init__()
        self.layers[2] = torch.nn.Sequential(
            torch.nn.Unflatten(1, (8, 1, 1)),
            DropBlock(0.9, 1, warmup_iters=20),
            torch.nn.Flatten(),
        )


NO_MODEL = torch.nn.Identity()


def save(*hooks, model=NO_MODEL):
    """What a run with these hooks and this model saves."""
    return collect_memory(SimpleNamespace(hooks=hooks, model=model), model)


def load(saved, *hooks, model=NO_MODEL):
    restore_memory(SimpleNamespace(hooks=hooks, model=model), model, saved)


@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
@pytest.mark.parametrize('at', [2, 7])
def test_a_layer_that_counts_goes_on(by_epoch, at, tmp_path):
    changes = dict(model=dict(type='ResumeDrops'))
    whole = train(config(tmp_path / 'whole', by_epoch, **changes))
    cfg = config(tmp_path / 'x', by_epoch, **changes)
    path = stopped(cfg, at)
    saved = look(path)[RESUME]['processes'][0]['memory']
    assert saved == {'layers.2.1': dict(iter_cnt=at + 1)}
    assert_equal(train(cfg, resume=path), whole)


# A validation after each epoch. From the second on none is better by 100, so the run waits.
WAITING = dict(type='EarlyStoppingHook', monitor='acc', rule='greater', min_delta=100, patience=2)


@pytest.mark.parametrize('at', [1, 5, 9, 12])
def test_early_stopping_goes_on_counting(at, tmp_path):
    loop = dict(by_epoch=True, max_epochs=6, val_interval=1)
    changes = dict(custom_hooks=[WAITING], train_cfg=loop)
    whole = train(config(tmp_path / 'whole', **changes))
    assert whole.epoch == 3
    cfg = config(tmp_path / 'x', **changes)
    again = train(cfg, resume=stopped(cfg, at))
    assert_equal(again, whole)


def test_a_run_that_early_stopping_ended_stays_ended(tmp_path):
    loop = dict(by_epoch=True, max_epochs=6, val_interval=1)
    cfg = config(tmp_path / 'x', custom_hooks=[WAITING], train_cfg=loop)
    whole = train(cfg)
    again = train(cfg, resume=tmp_path / 'x/epoch_3.pth')
    assert (again.epoch, again.iter) == (whole.epoch, whole.iter) == (3, 15)
    log = max((tmp_path / 'x').glob('*/*.log'), key=lambda path: path.stat().st_mtime)
    said = 'This run has finished, by early stopping, after 3 of 6 epochs.'
    assert log.read_text().count(said) == 1


def test_schedulers_that_look_at_the_validation_go_on(tmp_path):
    plateau = dict(
        type='ReduceOnPlateauLR', monitor='acc', rule='greater', threshold=9.0, patience=1
    )
    changes = dict(
        param_scheduler=[dict(plateau, by_epoch=True)],
        train_cfg=dict(by_epoch=True, max_epochs=6, val_interval=1),
    )
    whole = train(config(tmp_path / 'whole', **changes))
    assert whole.optim_wrapper.param_groups[0]['lr'] < 0.01
    for at in (9, 20, 24):
        cfg = config(tmp_path / f'{at}', **changes)
        assert_equal(train(cfg, resume=stopped(cfg, at)), whole)


def test_the_best_value_of_another_metric_is_forgotten():
    one = EarlyStoppingHook(monitor='acc', rule='greater')
    one.wait_count, one.best_score = 3, np.float64(0.5)
    saved = save(one)
    assert saved == {'EarlyStoppingHook acc greater': dict(wait_count=3, best_score=0.5)}
    assert type(saved['EarlyStoppingHook acc greater']['best_score']) is float
    for monitor, rule, known in (
        ('acc', 'greater', True),
        ('acc', 'less', False),
        ('iou', 'greater', False),
    ):
        two = EarlyStoppingHook(monitor=monitor, rule=rule)
        load(saved, two)
        assert (two.wait_count, two.best_score == 0.5) == ((3, True) if known else (0, False))


class Counting(Hook):
    """A hook of a user."""

    def __init__(self):
        self.count = 0

    def state_dict(self):
        return dict(count=self.count)

    def load_state_dict(self, state):
        self.count = state['count']


def test_hooks_that_say_what_they_remember():
    one, two = Counting(), Counting()
    one.count, two.count = 4, 5
    saved = save(Hook(), one, two)
    again = Counting(), Counting()
    load(saved, *again)
    assert [hook.count for hook in again] == [4, 5]
    load({}, *again, Counting())  # of an earlier release
    assert [hook.count for hook in again] == [4, 5]


def test_modules_of_mmdet_go_on():
    """The sizes, counts and thresholds are those of the other; all else is left alone."""
    made = [
        torch.nn.ModuleList([BatchSyncRandomResize((32, 64)), DropBlock(0.1, 3)]) for _ in range(2)
    ]
    for module, value in zip(made[0], ((64, 32), 7)):
        for name in OF_MODULES[type(module).__name__]:
            assert hasattr(module, name)
            setattr(module, name, value)
    saved = save(model=made[0])
    assert saved == {'0': dict(_input_size=(64, 32)), '1': dict(iter_cnt=7)}
    load(saved, model=made[1])
    assert save(model=made[1]) == saved


def test_a_head_with_settings_in_its_parts():
    def part(value):
        loss = type('Loss', (), dict(beta=value))()
        assigner = dict(pos_iou_thr=value, neg_iou_thr=value, min_pos_iou=value)
        head = type('DynamicRoIHead', (torch.nn.Module,), {})()
        head.iou_history, head.beta_history = [np.float64(value)], []
        head.bbox_head = type('Head', (), dict(loss_bbox=loss))()
        head.bbox_assigner = type('Assigner', (), assigner)()
        return head

    one, two = part(0.5), part(0.25)
    load(save(model=one), model=two)
    for name in OF_MODULES['DynamicRoIHead']:
        assert attrgetter(name)(two) == attrgetter(name)(one)


def test_what_is_listed_exists():
    hook = EarlyStoppingHook(monitor='acc', rule='greater')
    assert all(hasattr(hook, name) for name in OF_HOOKS['EarlyStoppingHook'])
    for kind in (DDODHead, DynamicRoIHead):
        source = inspect.getsource(kind)
        assert all(f'self.{name} = ' in source for name in OF_MODULES[kind.__name__])
