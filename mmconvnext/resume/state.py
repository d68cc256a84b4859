# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a checkpoint needs besides what mmengine saves, so that the run goes on exactly."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from mmengine.dist import get_rank, get_world_size
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor, nn

from ..distributed.shards import as_gradient, own_part
from .changes import settings_of
from .memory import collect_buffers, collect_memory, others, restore_buffers, restore_memory

VERSION = 1  # of the layout below
INEXACT = (
    '%s was saved without what an exact continuation needs (by other tools, or an earlier '
    'release): images and random numbers from here on are other than in an undisturbed run'
)


def collect(runner: Runner, meta: Mapping | None) -> dict[str, object] | None:
    """The state of all processes, on rank 0; all must call it.

    Args:
        meta: counts of epochs and iterations that the checkpoint will have; mmengine's hooks save
            before the loop counts the iteration or the epoch.
    """
    loop = runner.train_loop
    meta = {'epoch': runner.epoch, 'iter': runner.iter + 1, **(meta or {})}
    ended = meta['epoch'] > loop.epoch
    model = _model(runner)
    processes = runner.orders.gather(
        dict(
            randomness=loop.randomness(),
            gradients=_gradients(runner),
            memory=collect_memory(runner, model),
            buffers=collect_buffers(runner, model),
        )
    )
    if processes is None:
        return None
    first = processes[0]['buffers']
    for own in processes:
        own['buffers'] = others(own['buffers'], first)
    return dict(
        version=VERSION,
        batch=0 if ended else meta['iter'] - loop.first,  # of the epoch, or of the pass
        passes=loop.passes,
        validated=loop.validated,
        settings=settings_of(runner),
        processes=processes,
    )


def apply(runner: Runner, state: Mapping | None) -> None:
    """Let a runner that has resumed go on from a state of :func:`collect`.

    Without a state, or with that of another number of processes, which the user let pass, it goes
    on as well as it can.
    """
    loop = runner.train_loop
    if state is None:
        runner.logger.log(logging.WARNING, INEXACT, runner._load_from)
        # As mmengine: at the beginning of the epoch, or after as many batches as iterations.
        batch = loop.iter if isinstance(loop, IterBasedTrainLoop) else 0
        loop.go_on(batch, 0, True, None)
        return
    processes = state['processes']
    own = processes[get_rank()] if get_rank() < len(processes) else {}
    loop.go_on(state['batch'], state['passes'], state['validated'], own.get('randomness'))
    model = _model(runner)
    restore_memory(runner, model, (own or processes[0]).get('memory', {}))
    restore_buffers(runner, model, own.get('buffers', {}))
    gradients = own.get('gradients') or {}
    if len(processes) != get_world_size():
        gradients = mean([one['gradients'] for one in processes])
    parameters = dict(model.named_parameters())
    for name, gradient in gradients.items():
        parameters[name].grad = as_gradient(gradient, parameters[name])
    if gradients:
        runner.logger.info(
            'The gradients that the run had accumulated are restored; the warning that some are '
            'lost does not apply'
        )


def mean(shares: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The gradients of all processes together, as DistributedDataParallel would add them up: a
    process in which a parameter got none counts with zeros."""
    names = dict.fromkeys(name for share in shares for name in share)
    return {n: sum(share[n] for share in shares if n in share) / len(shares) for n in names}


def _gradients(runner: Runner) -> dict[str, Tensor]:
    """Those of a step that accumulates over several iterations and is not over."""
    wrapper = runner.optim_wrapper
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    if all(part._accumulative_counts == 1 for part in wrappers):
        return {}
    named = _model(runner).named_parameters()
    return {name: own_part(p.grad).cpu() for name, p in named if p.grad is not None}


def _model(runner: Runner) -> nn.Module:
    model = runner.model
    return model.module if is_model_wrapper(model) else model
