# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Trainings of milliseconds for the tests of resume: everything random, nothing of mmdet."""

import itertools
import os
import random
import signal

import numpy as np
import torch
import torch.distributed as dist
from fixtures import forget_runs
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner

from mmconvnext.recipe.prepare import _set_resume
from mmconvnext.resume.runner import exact


@DATASETS.register_module(force=True)
class ResumeDataset(BaseDataset):
    """Samples of random numbers from all generators; ``read`` has the indices in this process."""

    METAINFO = dict(classes=('a', 'b'))
    read: list[int] = []

    def __init__(self, length: int = 10):
        self.length = length
        super().__init__(serialize_data=False)  # else it collects garbage for a second

    def load_data_list(self):
        return [dict(number=i, width=4 + i % 2, height=5) for i in range(self.length)]

    def prepare_data(self, index):
        if random.random() < 0.1:  # mmengine reads another one
            return None
        self.read.append(int(index))
        numbers = [random.random(), np.random.rand(), float(torch.rand(()))]
        return dict(inputs=torch.tensor([*numbers, index / 10.0]))


@MODELS.register_module(force=True)
class ResumeModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(8, 1),
        )

    def forward(self, inputs, mode='tensor'):
        inputs = torch.stack(list(inputs))
        noise = np.random.rand() + random.random()  # a model may draw from these too
        out = self.layers(inputs)
        if mode == 'loss':
            return dict(loss=((out - noise) ** 2).mean())
        return list(out + torch.rand(1))  # a validation that draws must not move the training


@MODELS.register_module(force=True)
class ResumePlain(BaseModel):
    """Nothing of it is random, and its loss is a mean: two processes compute what one does."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, inputs, mode='tensor'):
        out = self.layer(torch.stack(list(inputs)))
        return dict(loss=(out**2).mean()) if mode == 'loss' else list(out.mean(dim=1))


PLAIN = dict(
    model=dict(type='ResumePlain'),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=3),
)


@METRICS.register_module(force=True)
class ResumeMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(value) for value in data_samples]

    def compute_metrics(self, results):
        return dict(acc=float(np.mean(results)))


class SignalHook(Hook):
    """Sends a signal to this process at an iteration, or in a validation."""

    def __init__(self, at=None, number=signal.SIGTERM, stage='train', times=1):
        self.at, self.number, self.stage, self.times = at, number, stage, times

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.stage == 'train' and runner.iter == self.at:
            self._send()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if self.stage == 'val' and runner.iter == self.at:
            self._send()

    def _send(self):
        for _ in range(self.times):
            os.kill(os.getpid(), self.number)


BY_EPOCH = dict(by_epoch=True, max_epochs=3, val_interval=1)
BY_ITERATION = dict(by_epoch=False, max_iters=14, val_interval=4)
KEPT = []  # to the end of the process, as the tools keep the runner
COUNT = itertools.count()
LENGTH = {True: 15, False: 14}  # iterations of these


def config(work_dir, by_epoch=True, workers=0, seed=3, **changes) -> Config:
    """10 images in batches of 2; ``changes`` replace keys."""
    kind = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    loader = dict(
        dataset=dict(type='ResumeDataset'),
        sampler=dict(type=kind, shuffle=True),
        batch_size=2,
        num_workers=workers,
    )
    still = dict(type='DefaultSampler', shuffle=False)
    cfg = dict(
        work_dir=str(work_dir),
        model=dict(type='ResumeModel'),
        train_dataloader=dict(loader, persistent_workers=workers > 0),
        val_dataloader=dict(loader, sampler=still, dataset=dict(type='ResumeDataset', length=3)),
        val_evaluator=dict(type='ResumeMetric'),
        val_cfg=dict(),
        train_cfg=dict(BY_EPOCH if by_epoch else BY_ITERATION),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.01), clip_grad=dict(max_norm=1.0, norm_type=2)
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
            dict(type='MultiStepLR', by_epoch=False, milestones=[7, 11]),
        ],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook',
                by_epoch=by_epoch,
                interval=1 if by_epoch else 5,
                save_best='acc',
                max_keep_ckpts=2,
            ),
            logger=dict(type='LoggerHook', interval=50),
        ),
        randomness=dict(seed=seed),
        experiment_name=f'{next(COUNT)}',  # mmengine's loggers have it as a name
    )
    return Config({**cfg, **changes})


def train(cfg: Config, *hooks: Hook, save_minutes: float = 0, resume: str = '') -> Runner:
    """Train, or go on from a checkpoint; as the tools prepare it."""
    if not os.environ.get('OWN_PROCESS'):  # which has no runs to forget
        forget_runs()
    ResumeDataset.read.clear()
    if resume:
        cfg = Config({**cfg.to_dict(), 'resume': True, 'load_from': str(resume)})
    object.__setattr__(cfg, '_format_python_code', False)  # as our tools: it takes a second
    runner = exact(Runner, save_minutes).from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    try:
        runner.train()
    finally:
        end_workers(runner)
    return runner


def end_workers(runner: Runner) -> None:
    """End those that stay, unless the process ends with the run.

    In a garbage collection they would take ten seconds: the queues that tell them go before them.
    """
    loader = runner._train_dataloader
    if not os.environ.get('OWN_PROCESS') and getattr(loader, '_iterator', None) is not None:
        loader._iterator._shutdown_workers()


def stopped(cfg: Config, at: int, status: int = 143, resume: str = '', **how) -> str:
    """Train until a signal comes in iteration ``at``; return the checkpoint to go on from."""
    try:
        train(cfg, SignalHook(at=at, **how), resume=resume)
    except SystemExit as end:
        assert end.code == status, end.code
    else:
        raise AssertionError('the run was not stopped')
    with open(f'{cfg.work_dir}/last_checkpoint') as file:
        return file.read()


def run_rank(
    rank: int, folder: str, name: str, by_epoch: bool, signals=(), resume='', changes=()
) -> None:
    """One of two processes; ``signals`` are (rank, iteration, stage)."""
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', OWN_PROCESS='1')
    store = dist.FileStore(f'{folder}/store {name}', 2)
    dist.init_process_group('gloo', store=store, rank=rank, world_size=2)
    cfg = averaged(
        f'{folder}/{name.partition(" ")[0]}',
        by_epoch,
        launcher='pytorch',
        model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
        **dict(changes),
    )
    hooks = [SignalHook(at, stage=stage) for who, at, stage in signals if who == rank]
    train(cfg, *hooks, resume=resume)
    dist.destroy_process_group()


def averaged(work_dir: str, by_epoch: bool, **changes) -> Config:
    """The config of two processes: averages of the weights, steps over 3 iterations."""
    wrapper = dict(optimizer=dict(type='AdamW', lr=0.01), accumulative_counts=3)
    averages = [dict(type='EMAHook', momentum=0.1)]
    changes = dict(custom_hooks=averages, optim_wrapper=wrapper) | changes
    cfg = config(work_dir, by_epoch, **changes)
    cfg.train_dataloader.dataset.length = 12  # 6 for each of two, and no batch of one
    return cfg


def run_launched(folder: str) -> None:
    """One of two processes of tools/dist_train.sh; rank 1 is killed in the third epoch, once."""
    os.environ['OWN_PROCESS'] = '1'
    dist.init_process_group('gloo')
    cfg = averaged(
        f'{folder}/launched',
        True,
        launcher='pytorch',
        model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
    )
    _set_resume(cfg, None, lambda line, *_: print(line, flush=True))
    killed = os.environ['RANK'] == '1' and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'
    train(cfg, *[SignalHook(7, signal.SIGKILL)] * killed, resume=cfg.get('load_from', ''))


def run_alone(rank: int, folder: str, resume: str, checked: bool) -> None:
    """One process goes on with the run of two, with batches twice as large; or runs all of it."""
    os.environ['OWN_PROCESS'] = '1'
    place = f'{folder}/stopped' if resume else f'{folder}/alone'
    cfg = averaged(place, True, checks=dict(resumed_config=checked), **PLAIN)
    cfg.train_dataloader.batch_size = 4
    train(cfg, resume=resume)


def run_with_workers(rank: int, folder: str, signals: bool) -> None:
    """A process of its own; a signal comes to it and to its workers, as from Slurm."""
    os.environ['OWN_PROCESS'] = '1'
    if signals:
        os.setpgrp()

        class ToAll(SignalHook):
            def _send(self):
                os.killpg(0, self.number)

        KEPT.append(train(config(folder, workers=2), ToAll(6)))
    KEPT.append(train(config(folder, workers=2)))


def assert_equal(ours: Runner, theirs: Runner) -> None:
    """Bitwise: weights, averages, optimizer, schedulers, counts, best score."""
    assert (ours.epoch, ours.iter) == (theirs.epoch, theirs.iter)
    same(ours.model.state_dict(), theirs.model.state_dict(), 'model')
    same(ours.optim_wrapper.state_dict(), theirs.optim_wrapper.state_dict(), 'optimizer')
    for one, two in zip(ours.param_schedulers, theirs.param_schedulers):
        same(one.state_dict(), two.state_dict(), 'scheduler')
    for one, two in zip(ours.hooks, theirs.hooks):
        if hasattr(one, 'ema_model'):
            same(one.ema_model.state_dict(), two.ema_model.state_dict(), 'averages')
    scores = [run.message_hub.runtime_info.get('best_score') for run in (ours, theirs)]
    assert scores[0] == scores[1]
    for key in ('train/loss', 'train/lr', 'val/acc'):
        one, two = (run.message_hub.log_scalars[key]._log_history for run in (ours, theirs))
        assert list(one) == list(two), key


def same(one, two, where: str) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            same(one[key], two[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        for index, pair in enumerate(zip(one, two)):
            same(*pair, f'{where}.{index}')
    else:
        assert one == two, where
