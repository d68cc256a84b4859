# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Trainings of milliseconds in which a number is not finite, for the tests of mmconvnext/faults."""

import os

import torch
import torch.distributed as dist
from fixtures import forget_runs
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS, OPTIM_WRAPPERS
from mmengine.runner import Runner
from resume_runs import config

from mmconvnext.distributed.shards import own_part
from mmconvnext.faults.bad_numbers import watch_numbers
from mmconvnext.resume.runner import exact


class BadGradient(torch.autograd.Function):
    """The same numbers; in the backward pass one NaN."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        gradient[0, 0] = float('nan')
        return gradient


@MODELS.register_module(force=True)
class NumberModel(BaseModel):
    """Two layers, batch norm, two losses; ``fault`` is what goes wrong in the next pass."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8)
        self.drop, self.last = torch.nn.Dropout(0.3), torch.nn.Linear(8, 2)
        self.fault = ''

    def forward(self, inputs, mode='tensor'):
        inputs = torch.stack(list(inputs))
        maps = self.drop(self.norm(self.first(inputs)))
        if self.fault == 'backward' and mode == 'loss':
            maps = BadGradient.apply(maps)
        out = self.last(maps)
        if mode != 'loss':
            return list(out[:, 0])
        losses = dict(loss_a=(out[:, 0] ** 2).mean(), loss_b=(out[:, 1] - 1).abs().mean())
        if self.fault in ('nan', 'inf', '-inf'):
            losses['loss_b'] = losses['loss_b'] + float(self.fault)
        if self.fault == 'once':
            losses['loss_a'] = losses['loss_a'] * float('inf')
            self.fault = ''
        if self.fault == 'crash':
            raise ValueError('matrix contains invalid numeric entries')
        return {**losses, 'acc': torch.tensor(50.0)}


@OPTIM_WRAPPERS.register_module(force=True)
class CpuAmpWrapper(AmpOptimWrapper):
    """mmengine's wrapper for mixed precision, which itself refuses a CPU."""

    def __init__(self, init_scale=2.0**16, enabled=True, **options):
        OptimWrapper.__init__(self, **options)
        self.cast_dtype, self._scale_update_param = torch.bfloat16, None
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=init_scale, enabled=enabled)


class FaultHook(Hook):
    """Sets ``fault`` of the model in the iterations ``at``, counted from 0, on one rank or all."""

    def __init__(self, fault, *at, rank=None):
        self.fault, self.at, self.rank = fault, at, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        model = getattr(runner.model, 'module', runner.model)
        model.fault = ''
        if runner.iter in self.at and self.rank in (None, runner.rank):
            model.fault = self.fault
            if self.fault == 'image':
                data_batch['inputs'][1][2] = float('nan')
            if self.fault == 'weight':
                own_part(model.last.weight)[-1, 3] = float('inf')


def start(work_dir, *hooks, policy='stop', resume='', wrapper=None, **changes) -> Runner:
    """Train 14 iterations of 2 samples, or go on from a checkpoint."""
    wrapper = dict(optimizer=dict(type='AdamW', lr=0.01), **(wrapper or {}))
    given = dict(model=dict(type='NumberModel'), optim_wrapper=wrapper, **changes)
    cfg = config(work_dir, by_epoch=False, **given)
    if not os.environ.get('OWN_PROCESS'):  # which has no runs to forget
        forget_runs()
    if resume:
        cfg = Config({**cfg.to_dict(), 'resume': True, 'load_from': str(resume)})
    object.__setattr__(cfg, '_format_python_code', False)
    runner = exact(Runner).from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    watch_numbers(runner, policy)
    runner.train()
    return runner


WRAPPERS = dict(
    ddp=dict(type='MMDistributedDataParallel', device_ids=None),
    fsdp=dict(type='mmconvnext.FullyShardedModel', min_parameters=1),
)


def run_rank(rank: int, folder: str, policy: str, fault: str, kind: str = 'ddp') -> None:
    """One of two processes; the fault is in rank 1."""
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2', OWN_PROCESS='1')
    store = dist.FileStore(f'{folder}/store', 2)
    dist.init_process_group('gloo', store=store, rank=rank, world_size=2)
    runner = start(
        f'{folder}/run',
        FaultHook(fault, 4, rank=1),
        policy=policy,
        launcher='pytorch',
        model_wrapper_cfg=WRAPPERS[kind],
    )
    torch.save(dict(runner.model.module.named_parameters()), f'{folder}/end_{rank}.pth')
    dist.destroy_process_group()
