# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Runs that are stopped and go on end bitwise as undisturbed ones, whatever they hold."""

import itertools
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, FUNCTIONS, LOOPS, OPTIM_WRAPPERS
from mmengine.runner import EpochBasedTrainLoop, Runner
from resume_runs import (
    LENGTH,
    ResumeDataset,
    SignalHook,
    assert_equal,
    config,
    stopped,
    train,
)
from torch.utils.data import BatchSampler

from mmconvnext.checkpoint.whole import RESUME
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.resume_from import BEGUN_FROM
from mmconvnext.resume.batches import set_epoch
from mmconvnext.resume.loops import ExactEpochLoop, ExactIterLoop
from mmconvnext.resume.runner import exact

EMA = dict(type='EMAHook', momentum=0.1, update_buffers=True)
ACCUMULATED = dict(optimizer=dict(type='AdamW', lr=0.01), accumulative_counts=3)
BOTH = pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])


@OPTIM_WRAPPERS.register_module(force=True)
class ScalingWrapper(OptimWrapper):
    """The scaler of mixed precision, which mmengine's own wrapper allows on GPUs only."""

    def __init__(self, **options):
        super().__init__(**options)
        self.scaler = torch.amp.GradScaler('cpu', init_scale=2.0**70, growth_interval=4)

    def backward(self, loss, **options):
        self.scaler.scale(loss).backward(**options)
        self._inner_count += 1

    def step(self, **options):
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def optim_context(self, model):
        return torch.autocast('cpu', torch.bfloat16)

    def state_dict(self):
        return dict(super().state_dict(), loss_scaler=self.scaler.state_dict())

    def load_state_dict(self, state):
        self.scaler.load_state_dict(state.pop('loss_scaler'))
        super().load_state_dict(state)


@BOTH
def test_a_run_that_is_stopped_anywhere_ends_the_same(by_epoch, tmp_path):
    """Epochs of 5 iterations, validations after 5 or 4, averages, steps over 3 iterations."""
    settings = dict(custom_hooks=[EMA], optim_wrapper=ACCUMULATED)
    whole = train(config(tmp_path / 'whole', by_epoch, **settings))
    assert type(whole.train_loop) is (ExactEpochLoop if by_epoch else ExactIterLoop)
    for at in range(LENGTH[by_epoch]):
        cfg = config(tmp_path / f'at{at}', by_epoch, **settings)
        path = stopped(cfg, at)
        assert Path(path).name in (f'resume_iter_{at + 1}.pth', f'iter_{at + 1}.pth')
        assert_equal(train(cfg, resume=path), whole)


@BOTH
def test_a_run_that_is_stopped_after_each_iteration_ends_the_same(by_epoch, tmp_path):
    whole = train(config(tmp_path / 'whole', by_epoch, custom_hooks=[EMA]))
    cfg, path = config(tmp_path / 'steps', by_epoch, custom_hooks=[EMA]), ''
    for at in range(LENGTH[by_epoch] - 1):
        path = stopped(cfg, at, resume=path)
    assert_equal(train(cfg, resume=path), whole)


@pytest.mark.parametrize('at', [3, 4, 5, 12])
def test_iterations_over_data_that_end_go_on(at, tmp_path):
    """A sampler without an end is usual; with another one, the data begin anew every 5 batches."""
    sampler = {'train_dataloader.sampler.type': 'DefaultSampler'}
    whole, cfg = config(tmp_path / 'whole', False), config(tmp_path / 'x', False)
    for one in (whole, cfg):
        one.merge_from_dict(sampler)
    whole = train(whole)
    orders = [batch[:] for batch in whole.train_dataloader.batch_sampler]
    set_epoch(whole.train_dataloader, 0)
    assert [batch[:] for batch in whole.train_dataloader.batch_sampler] != orders
    assert_equal(train(cfg, resume=stopped(cfg, at)), whole)


@BOTH
@pytest.mark.parametrize('at', [3, 8])
def test_the_scaler_of_mixed_precision_goes_on(by_epoch, at, tmp_path):
    settings = dict(optim_wrapper=dict(ACCUMULATED, type='ScalingWrapper', accumulative_counts=2))
    whole = train(config(tmp_path / 'whole', by_epoch, **settings))
    assert whole.optim_wrapper.scaler.get_scale() != 2.0**70
    cfg = config(tmp_path / 'x', by_epoch, **settings)
    assert_equal(train(cfg, resume=stopped(cfg, at)), whole)


@BOTH
def test_a_run_without_a_seed_goes_on(by_epoch, tmp_path, monkeypatch):
    """Its seed is drawn when it begins; the tools set that of the checkpoint."""
    monkeypatch.setattr('mmengine.runner.utils.sync_random_seed', lambda: 77)
    whole = train(config(tmp_path / 'whole', by_epoch, seed=None))
    cfg = config(tmp_path / 'x', by_epoch, seed=None)
    path = stopped(cfg, 6)
    seed = torch.load(path, weights_only=False)['meta']['seed']
    assert seed == whole.seed == 77
    assert_equal(train(config(tmp_path / 'x', by_epoch, seed=seed), resume=path), whole)


@pytest.mark.slow
@BOTH
def test_workers_make_no_difference(by_epoch, tmp_path):
    whole = train(config(tmp_path / 'whole', by_epoch))
    cfg = config(tmp_path / 'x', by_epoch, workers=2)
    path = stopped(cfg, 6)
    again = config(tmp_path / 'x', by_epoch, workers=1)
    assert_equal(train(again, resume=path), whole)


def test_batches_before_are_not_read_again(tmp_path):
    for by_epoch in (True, False):
        cfg = config(tmp_path / f'{by_epoch}', by_epoch, val_cfg=None, val_dataloader=None)
        cfg.val_evaluator = cfg.default_hooks.checkpoint.save_best = None
        path = stopped(cfg, 8)
        train(cfg, resume=path)
        assert len(ResumeDataset.read) == 2 * (LENGTH[by_epoch] - 9)


@BOTH
@pytest.mark.parametrize('ema', [[], [EMA]], ids=['plain', 'averages'])
def test_a_stop_in_a_validation_repeats_it(by_epoch, ema, tmp_path):
    whole = train(config(tmp_path / 'whole', by_epoch, custom_hooks=ema))
    at = 10 if by_epoch else 8
    cfg = config(tmp_path / 'x', by_epoch, custom_hooks=ema)
    cfg.default_hooks.checkpoint.interval = 100  # so the stop has to save
    path = stopped(cfg, at, stage='val')
    assert path.endswith(f'resume_iter_{at}.pth')
    content = torch.load(path, weights_only=False)
    assert not content[RESUME]['validated']
    cfg.default_hooks.checkpoint.interval = 1 if by_epoch else 5
    assert_equal(train(cfg, resume=path), whole)


def test_a_validation_that_is_in_the_checkpoint_is_not_repeated(tmp_path):
    """mmengine saves once more when a validation brings a better score."""
    whole = train(config(tmp_path / 'whole'))
    cfg = config(tmp_path / 'x')
    stopped(cfg, 6)
    path = tmp_path / 'x/epoch_1.pth'
    assert torch.load(path, weights_only=False)[RESUME]['validated']
    assert_equal(train(cfg, resume=path), whole)


def test_a_checkpoint_of_the_same_place_is_not_saved_twice(tmp_path, log_records):
    cfg = config(tmp_path / 'x')
    path = stopped(cfg, 5, stage='val')  # epoch_1.pth has been saved
    assert path.endswith('epoch_1.pth')
    assert [file.name for file in (tmp_path / 'x').glob('resume*')] == []


@pytest.mark.parametrize(
    ('number', 'status'),
    [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)],
)
def test_the_exit_status_is_that_of_shells(number, status, tmp_path):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    cfg = config(tmp_path / 'x')
    stopped(cfg, 3, status=status, number=number)
    after = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    assert after == before
    (log,) = (tmp_path / 'x').glob('*/*.log')
    name = number.name
    assert f'Stopped by {name} after iteration 4; checkpoint: {tmp_path}/x/resu' in log.read_text()


def test_ctrl_c_twice_stops_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path / 'x'), SignalHook(3, signal.SIGINT, times=2))
    assert not list((tmp_path / 'x').glob('*.pth'))


def test_checkpoints_by_the_clock_keep_two_and_go_with_the_end(tmp_path, monkeypatch):
    seen = []

    class Look(SignalHook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(sorted(p.name for p in Path(runner.work_dir).glob('resume*')))

    train(config(tmp_path / 'x'), Look(), save_minutes=1e-9)
    assert seen[:4] == [
        [],
        ['resume_iter_1.pth'],
        ['resume_iter_1.pth', 'resume_iter_2.pth'],
        ['resume_iter_2.pth', 'resume_iter_3.pth'],
    ]
    assert not list((tmp_path / 'x').glob('resume*'))
    seen.clear()
    train(config(tmp_path / 'y'), Look(), save_minutes=0)
    assert not any(seen)


@BOTH
def test_a_run_that_has_finished_says_so(by_epoch, tmp_path):
    cfg = config(tmp_path / 'x', by_epoch)
    train(cfg)
    last = (tmp_path / 'x/last_checkpoint').read_text()
    assert train(cfg, resume=last).iter == LENGTH[by_epoch]
    done, key = ('3 of 3 epochs', 'epochs') if by_epoch else ('14 of 14 iterations', 'iters')
    said = f'This run has finished: {done}. To train longer, resume it with a larger train_cfg.max_'
    logs = (tmp_path / 'x').glob('*/*.log')  # one, if both began in the same second
    assert sum(log.read_text().count(said + key) for log in logs) == 1


def test_other_loops_run_as_mmengine_runs_them(tmp_path):
    @LOOPS.register_module(force=True)
    class OtherLoop(EpochBasedTrainLoop):
        pass

    cfg = config(tmp_path / 'x', train_cfg=dict(type='OtherLoop', max_epochs=1))
    runner = train(cfg)
    assert type(runner.train_loop) is OtherLoop and runner.iter == 5
    (log,) = (tmp_path / 'x').glob('*/*.log')
    assert 'OtherLoop: this run is not exact after --resume' in log.read_text()
    # Else all epochs would get the augmentations of the first.
    assert type(runner.train_dataloader.batch_sampler) is BatchSampler
    assert RESUME not in torch.load(tmp_path / 'x/epoch_1.pth', weights_only=False)


def test_a_checkpoint_of_mmengine_goes_on_with_a_warning(tmp_path):
    for by_epoch in (True, False):
        place = tmp_path / f'{by_epoch}'
        cfg = config(place, by_epoch)
        cfg.default_hooks.checkpoint.max_keep_ckpts = -1
        Runner.from_cfg(cfg).train()
        name = 'epoch_2.pth' if by_epoch else 'iter_10.pth'
        runner = train(cfg, resume=place / name)
        assert runner.iter == LENGTH[by_epoch]
        log = max(place.glob('*/*.log'), key=lambda path: path.stat().st_mtime)
        assert 'was saved without what an exact continuation needs' in log.read_text()


@pytest.mark.slow
def test_the_saved_config_is_a_plain_one(tmp_path):
    cfg = config(tmp_path / 'x')
    runner = train(cfg)
    text = runner.cfg.pretty_text
    assert 'mmconvnext' not in text and 'Exact' not in text and 'Safe' not in text
    assert type(runner).__name__ == 'ExactRunner' and isinstance(runner, Runner)


@pytest.mark.parametrize('weights', [None, 'weights.pth'])
def test_the_saved_config_of_a_resumed_run_begins_a_new_one(weights, tmp_path):
    """It would go on from the checkpoint of another run, in whatever folder."""
    (file := tmp_path / 'x.py').touch()
    path = stopped(config(tmp_path / 'x'), 3)
    cfg = config(tmp_path / 'x')
    cfg = Config({**cfg.to_dict(), 'resume': True, 'load_from': path}, filename=str(file))
    object.__setattr__(cfg, '_format_python_code', False)
    object.__setattr__(cfg, BEGUN_FROM, weights)
    runner = exact(Runner).from_cfg(cfg)
    runner.train()
    assert (runner.cfg.resume, runner.cfg.load_from) == (True, path)
    saved = Config.fromfile(tmp_path / 'x/x.py')
    assert (saved.resume, saved.load_from) == (False, weights)


def test_a_thread_trains_too(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(config(tmp_path / 'x'))))
    thread.start()
    thread.join()
    assert found[0].iter == 15


class Hangs(ResumeDataset):
    """The read of a sample takes for ever, and a signal comes, with all that was drawn before."""

    def __init__(self, at, **options):
        self.at, self.count = at, 0
        super().__init__(**options)

    def prepare_data(self, index):
        self.count += 1
        if self.count == self.at:
            random.random(), np.random.rand(), torch.rand(9)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return super().prepare_data(index)


@BOTH
@pytest.mark.parametrize('at', [1, 2, 13])
def test_a_stop_while_data_are_waited_for(at, by_epoch, tmp_path):
    DATASETS.register_module(module=Hangs, force=True)
    whole = train(config(tmp_path / 'whole', by_epoch))
    cfg = config(tmp_path / 'run', by_epoch)
    cfg.train_dataloader.dataset = dict(type='Hangs', at=at)
    with pytest.raises(SystemExit) as end:
        train(cfg)
    assert end.value.code == 143
    path = (tmp_path / 'run/last_checkpoint').read_text()
    cfg.train_dataloader.dataset = dict(type='ResumeDataset')
    cfg.checks = dict(resumed_config=False)
    assert_equal(train(cfg, resume=path), whole)


@BOTH
@pytest.mark.parametrize('at', [0, 3])
def test_data_that_end_too_early_are_no_end(at, by_epoch, tmp_path):
    """A StopIteration, of collate_fn for example, is an end for Python."""

    def collate(samples, seen=itertools.count()):  # noqa: B008
        if next(seen) >= at:
            raise StopIteration
        return pseudo_collate(samples)

    FUNCTIONS.register_module('ends', module=collate, force=True)
    cfg = config(tmp_path, by_epoch)
    cfg.train_dataloader.collate_fn = dict(type='ends')
    with pytest.raises(RecipeError, match=rf'the data ended after {at} of {at + 1} batches'):
        train(cfg)


class Mine:
    """Of a user, and pickled as such."""


@pytest.mark.parametrize('value, count', [(1.5, 0), (Mine(), 1)])
def test_checkpoints_that_no_resume_could_read_are_told(value, count, tmp_path, capsys):
    class Remember(Hook):
        def state_dict(self):
            return dict(value=value)

        def load_state_dict(self, state):
            pass

    train(config(tmp_path), Remember())
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if '--resume could not read' in line]
    assert len(told) == count and all('Mine' in line for line in told)


def test_processes_that_differ_do_not_begin(tmp_path, monkeypatch):
    def gather(own):
        return [own, {**own, 'val_dataloader: samples': '4'}]

    monkeypatch.setattr('mmconvnext.resume.runner.get_world_size', lambda: 2)
    monkeypatch.setattr('mmconvnext.resume.runner.all_gather_object', gather)
    with pytest.raises(RecipeError, match='val_dataloader: samples: 3 on rank 0, 4 on rank 1'):
        train(config(tmp_path))
