# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A resumed run must keep the schedule and the optimizer settings that it was started with.

mmengine restores both from the checkpoint, settings included: a longer ``T_max`` or another
learning rate in the config has no effect, and nothing is logged. Changes to ``train_cfg`` do.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from ..recipe.checks.finding import Finding, settle
from ..recipe.ranks import log_rank0

# Parameters of schedulers that are not settings: what is scheduled, and its progress.
NO_SETTINGS = {'self', 'args', 'kwargs', 'optimizer', 'last_step', 'verbose'}
# Keys of parameter groups that are not settings, or that only choose an implementation.
NO_RULES = {'params', 'foreach', 'fused', 'capturable', 'differentiable', 'param_names'}
# Settings that are iterations, if a config counts them in epochs.
COUNTS = ('.T_max:', '.begin:', '.end:', '.milestones:', '.total_iters:', '.total_steps:')
COUNTED = (
    ' (iterations that it does not name follow from its epochs, the batch size, the processes and '
    'the images: one of these may have changed)'
)
MOST = 5  # differences shown in the message; our choice


class SameSchedule(Hook):
    """Compares the schedulers and the optimizer of a checkpoint with those of the config."""

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse settings of the config that mmengine would ignore.

        Raises:
            RecipeError: a setting differs from the checkpoint's.
        """
        for line in settle(runner.cfg, compare(runner, checkpoint)):
            log_rank0(line, logging.WARNING)


def compare(runner: Runner, checkpoint: Mapping) -> Iterator[Finding]:
    """Yield one finding with the settings that differ: the checkpoint's value, then the config's.

    Args:
        runner: with schedulers and optimizer built, as they are when mmengine resumes.
    """
    found = [*_schedules(runner, checkpoint), *_optimizers(runner, checkpoint)]
    if found:
        counted = COUNTED if any(name in line for line in found for name in COUNTS) else ''
        rest = f'\n  and {len(found) - MOST} more' if len(found) > MOST else ''
        yield Finding(
            'the settings in the config differ from those of the run to resume, and mmengine would '
            'continue with the old ones:\n  ' + '\n  '.join(found[:MOST]) + f'{rest}\n'
            f'To resume it, write the old values into the config{counted}; to start a new schedule '
            'from its weights, use --cfg-options load_from=FILE --work-dir NEW without --resume',
            'schedule',
        )


def _schedules(runner: Runner, checkpoint: Mapping) -> Iterator[str]:
    ours, theirs = runner.param_schedulers, checkpoint.get('param_schedulers')
    ours = ours if isinstance(ours, dict) else {'': ours or []}
    if theirs is None:  # then mmengine restores none
        if any(ours.values()):
            yield 'param_scheduler: none in the checkpoint, so those here would start over'
        return
    theirs = theirs if isinstance(theirs, dict) else {'': theirs}
    for name, schedulers in ours.items():
        saved, path = theirs.get(name, []), f'param_scheduler.{name}'.rstrip('.')
        if len(schedulers) != len(saved):
            yield f'{path}: {len(saved)} schedulers in the checkpoint, {len(schedulers)} here'
            continue
        for i, (scheduler, state) in enumerate(zip(schedulers, saved)):
            yield from _scheduler(f'{path}.{i}', scheduler, state)


def _scheduler(path: str, scheduler: object, state: Mapping) -> Iterator[str]:
    kinds = type(scheduler).__mro__
    names = [n for kind in kinds for n in inspect.signature(kind.__init__).parameters]
    ours = {n: vars(scheduler)[n] for n in names if n in vars(scheduler) and n not in NO_SETTINGS}
    strange = [name for name in ours if name not in state]
    if strange:
        yield f'{path}: the checkpoint has no {strange} of {type(scheduler).__name__}'
        return
    if 'milestones' in ours and max(ours['milestones'], default=0) < min(ours['end'], state['end']):
        ours.pop('end')  # nothing changes after the last milestone
    for name, value in ours.items():
        yield from _difference(f'{path}.{name}', state[name], value)


def _optimizers(runner: Runner, checkpoint: Mapping) -> Iterator[str]:
    wrapper, states = runner.optim_wrapper, checkpoint.get('optimizer') or {}
    several = isinstance(wrapper, OptimWrapperDict)
    for name, part in wrapper.items() if several else [('', wrapper)]:
        state = states.get(name, {}) if several else states
        path = f'optim_wrapper.{name}'.rstrip('.')
        for i, pair in enumerate(zip(part.optimizer.param_groups, state.get('param_groups', []))):
            yield from _group(f'{path}, group {i} of the optimizer: ', *pair)


def _group(path: str, ours: Mapping, theirs: Mapping) -> Iterator[str]:
    for key in ours:
        moved = f'initial_{key}' in ours or key in NO_RULES  # a scheduler changes it
        if not moved and key in theirs:
            yield from _difference(path + key.replace('initial_', ''), theirs[key], ours[key])


def _difference(what: str, theirs: object, ours: object) -> Iterator[str]:
    listed = all(isinstance(value, (list, tuple)) for value in (theirs, ours))
    if list(theirs) != list(ours) if listed else theirs != ours:
        theirs, ours = (sorted(v) if isinstance(v, Mapping) else v for v in (theirs, ours))
        yield f'{what}: {theirs!r} in the checkpoint, {ours!r} in the config'
