# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/process.py: an error of any rank is shown once, and no process hangs."""

import os
import signal
import sys
import time
import warnings

import processes
import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner

from mmconvnext.distributed import process
from mmconvnext.distributed.process import run_one_of_several
from mmconvnext.recipe.errors import RecipeError

FAULT = 'MMCONVNEXT_TESTS_FAULT'  # where to fail, and in which rank


def maybe_fail(place: str) -> None:
    where, rank, kind = os.environ[FAULT].split()
    if (where, int(rank)) == (place, dist.get_rank()):
        raise {'bug': ValueError, 'mistake': RecipeError}[kind](f'a fault while {place}')


@DATASETS.register_module(force=True)
class FaultyData(BaseDataset):
    def load_data_list(self):
        return [dict(value=float(number)) for number in range(8)]

    def prepare_data(self, index):
        maybe_fail('loading')
        return dict(values=torch.tensor([self.get_data_info(index)['value']]))


@MODELS.register_module(force=True)
class FaultyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, values, mode):
        maybe_fail('computing' if mode == 'loss' else 'predicting')
        out = self.layer(torch.stack(values))
        return dict(loss=out.square().mean()) if mode == 'loss' else list(out)


@METRICS.register_module(force=True)
class FaultyMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(sample.item() for sample in data_samples)

    def compute_metrics(self, results):
        maybe_fail('evaluating')
        return dict(count=len(results))


@HOOKS.register_module(force=True)
class FaultyHook(Hook):
    def before_save_checkpoint(self, runner, checkpoint):
        maybe_fail('saving')


def train(folder) -> Runner:
    from mmconvnext.cli.runner import build_runner

    data = dict(
        batch_size=2,
        dataset=dict(type='FaultyData', lazy_init=False),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    cfg = Config(
        dict(
            default_scope='mmengine',
            launcher='pytorch',
            work_dir=f'{folder}/run',
            model=dict(type='FaultyModel'),
            train_dataloader=data,
            val_dataloader=data,
            val_evaluator=dict(type='FaultyMetric'),
            val_cfg=dict(),
            train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1),
                logger=dict(type='LoggerHook', interval=1),
            ),
            custom_hooks=[dict(type='FaultyHook')],
            randomness=dict(seed=0),
        )
    )
    runner = build_runner(cfg)
    runner.train()
    return runner


def _train(rank, folder, grace) -> None:
    process.GRACE = grace  # no launcher ends the others here
    torch.set_num_threads(1)

    def main():
        print(f'a line of rank {rank}', flush=True)
        warnings.warn('a warning of all', stacklevel=1)
        train(folder)

    run_one_of_several(main)


def run(folder, fault):
    began = time.monotonic()
    done = processes.launch(_train, str(folder), 0.1, count=2, folder=folder, **{FAULT: fault})
    return done, time.monotonic() - began


FAULTS = ['loading 1', 'computing 1', 'predicting 1', 'saving 0']


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_is_shown_once_and_nobody_hangs(fault, tmp_path):
    place, failed = fault.split()
    done, seconds = run(tmp_path, f'{fault} bug')
    assert [one.returncode for one in done] == [1, 1] and seconds < 20
    errors = ''.join(one.stderr for one in done)
    line = f'ValueError: a fault while {place}\n'
    assert errors.count('Traceback') == 1, errors
    assert f'{line}error in rank {failed} of 2, see above\n' in done[int(failed)].stderr
    assert 'terminate called' not in errors
    assert 'of 2' not in done[1 - int(failed)].stderr  # that the other lost its partner is no news


def test_a_mistake_in_one_rank_has_its_number(tmp_path):
    done, _ = run(tmp_path, 'loading 1 mistake')
    assert [one.returncode for one in done] == [1, 2]
    errors = ''.join(one.stderr for one in done)
    assert errors.count('error') == 1 and 'Traceback' not in errors
    assert 'error in rank 1 of 2: a fault while loading\n' in errors


def test_a_sound_run_writes_one_log_and_ends_in_silence(tmp_path):
    done, _ = run(tmp_path, 'nowhere 0 bug')
    assert [one.returncode for one in done] == [0, 0], done
    first, second = done
    assert first.stdout.count('a line of rank 0') == 1 and not second.stdout
    assert first.stdout.count('Epoch(train) [1][2/2]') == 1
    assert 'count: 8' in first.stdout
    assert 'a warning of all' in first.stderr and not second.stderr
    assert len(list((tmp_path / 'run').rglob('*.log'))) == 1
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['epoch_1.pth']


# Before the processes meet


def _mistake(rank, ranks) -> None:
    process.GRACE = 0.5
    if str(rank) not in ranks:
        time.sleep(0.2)
        os._exit(0)

    def main():
        raise RecipeError('the way out')

    run_one_of_several(main)


@pytest.mark.parametrize(
    ('ranks', 'shown'),
    [
        ('0', ['error: the way out\n', '']),
        ('1', ['', 'error in rank 1 of 2: the way out\n']),
    ],
)
def test_a_mistake_before_the_processes_meet(ranks, shown):
    done = processes.launch(_mistake, ranks, count=2)
    assert [one.stderr for one in done] == shown
    assert {one.returncode for one in done} == {0, 2}


def test_what_all_find_rank_0_says_first(monkeypatch):
    """The others wait for the launcher to end them."""
    slept = []
    monkeypatch.setattr(process.time, 'sleep', slept.append)
    for rank in ('0', '1'):
        monkeypatch.setenv('RANK', rank)
        assert process._is_first()
    assert slept == [process.GRACE]


# A process that is gone


def _killed(rank, folder) -> None:
    process.GRACE = 0.1

    def main():
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
        dist.init_process_group('gloo')
        if rank == 1:
            os.kill(os.getpid(), 9)
        dist.all_reduce(torch.ones(1))

    run_one_of_several(main)


def test_the_loss_of_a_process_is_one_line(tmp_path):
    done = processes.launch(_killed, tmp_path, count=2)
    assert [one.returncode for one in done] == [1, -9]
    line = 'rank 0 of 2 lost another process, which has ended ('
    assert done[0].stderr.startswith(line) and done[0].stderr.count('\n') == 1


@pytest.mark.parametrize('ended', [True, False])
def test_nobody_waits_for_a_signal_that_has_come(ended, monkeypatch, capsys):
    slept, status = [], []
    monkeypatch.setattr(process, '_end', status.append)
    monkeypatch.setattr(process.time, 'sleep', slept.append)
    monkeypatch.setattr(process, '_is_first', lambda: True)

    def main():
        error = RuntimeError('Connection closed by peer')
        if ended:
            error.signal = 15
        raise error

    run_one_of_several(main)
    assert (status, slept) == ([1], [] if ended else [process.GRACE])
    assert 'lost another process' in capsys.readouterr().err


def _launcher(rank, folder) -> None:
    """A launcher that is killed: the process that it has started is a session of its own."""
    child = os.fork()
    if child:
        while not (folder / 'ready').exists():
            time.sleep(0.01)
        os.kill(os.getpid(), 9)
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: (folder / 'ended').touch() or os._exit(0))
    process._end_with_launcher()
    (folder / 'ready').touch()
    time.sleep(20)
    os._exit(1)


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells of the end of a parent')
def test_nobody_trains_on_without_the_launcher(tmp_path):
    (done,) = processes.call(_launcher, tmp_path, MMCONVNEXT_LAUNCHED='1')
    assert done.returncode == -9
    end = time.monotonic() + 10
    while not (tmp_path / 'ended').exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_other_launchers_are_left_alone(monkeypatch):
    monkeypatch.delenv('MMCONVNEXT_LAUNCHED', raising=False)
    monkeypatch.setattr(process.ctypes, 'CDLL', lambda *_: pytest.fail('called'))
    process._end_with_launcher()


# Ends


def _slower(rank, folder) -> None:
    def main():
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
        dist.init_process_group('gloo')
        if rank == 1:
            time.sleep(0.5)
            dist.distributed_c10d._get_default_store().add('asked', 1)
            print('done', file=sys.stderr)

    run_one_of_several(main)


def test_rank_0_which_holds_the_store_waits_for_the_others(tmp_path):
    done = processes.launch(_slower, tmp_path, count=2)
    assert [one.returncode for one in done] == [0, 0]
    assert [one.stderr for one in done] == ['', 'done\n']


@pytest.mark.parametrize(('raised', 'status'), [(KeyboardInterrupt, 130), (SystemExit(7), 7)])
def test_other_ends(raised, status, monkeypatch, capsys):
    ended = []
    monkeypatch.setattr(process, '_end', ended.append)
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)

    def main():
        raise raised

    run_one_of_several(main)
    assert ended == [status]
    assert capsys.readouterr().err == ('\nstopped\n' if status == 130 else '')


def test_an_end_before_the_processes_meet_is_python_s(monkeypatch):
    monkeypatch.setattr(process, '_end', lambda status: pytest.fail('ended'))
    with pytest.raises(SystemExit, match='^3$'):
        run_one_of_several(lambda: sys.exit(3))
