# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/same_schedule.py: a resumed run continues as it was started, or the user is told."""

import copy
import logging
import shutil
from types import SimpleNamespace

import pytest
import torch
from fixtures import TINY_SEGMENTOR, UPERNET, forget_runs
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import PARAM_SCHEDULERS

from mmconvnext.cli.train import main
from mmconvnext.hooks import same_schedule as module
from mmconvnext.hooks.same_schedule import SameSchedule, compare
from mmconvnext.recipe.errors import RecipeError

SCHEDULES = dict(
    linear=dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    steps=dict(type='MultiStepLR', milestones=[6, 8], gamma=0.1, end=12),
    cosine=dict(type='CosineAnnealingLR', T_max=12, eta_min=0.0),
    poly=dict(type='PolyLR', power=0.9, eta_min=0.0, end=12),
    cycle=dict(type='OneCycleLR', eta_max=0.1, total_steps=12),
    momentum=dict(type='CosineAnnealingMomentum', T_max=12),
)


def built(*schedulers, seen=3, **optimizer):
    """A runner with these schedulers after some steps."""
    settings = dict(lr=0.1, momentum=0.9, weight_decay=0.05)
    parts = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=lr) for lr in (0.1, 0.01)]
    settings.update(optimizer)
    wrapper = OptimWrapper(torch.optim.SGD(parts, **settings))
    schedulers = [PARAM_SCHEDULERS.build({**config, 'optimizer': wrapper}) for config in schedulers]
    for _ in range(seen):
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return SimpleNamespace(cfg=Config(), param_schedulers=schedulers, optim_wrapper=wrapper)


def saved(runner) -> dict:
    states = [copy.deepcopy(scheduler.state_dict()) for scheduler in runner.param_schedulers]
    state = copy.deepcopy(runner.optim_wrapper.state_dict())
    return dict(param_schedulers=states, optimizer=state)


def differences(runner, checkpoint) -> list:
    return [
        line.strip()
        for finding in compare(runner, checkpoint)
        for line in finding.text.splitlines()[1:-1]
    ]


@pytest.mark.parametrize('name', SCHEDULES)
def test_a_run_that_goes_on_as_it_was_started(name):
    schedule = SCHEDULES[name]
    assert differences(built(schedule, seen=0), saved(built(schedule))) == []


@pytest.mark.parametrize(
    'name, change, difference',
    [
        ('linear', dict(end=20), 'param_scheduler.0.end: 10 in the checkpoint, 20 in the config'),
        ('linear', dict(start_factor=0.5), 'param_scheduler.0.start_factor: 0.1 in'),
        (
            'steps',
            dict(milestones=[6, 9]),
            'param_scheduler.0.milestones: [6, 8] in the checkpoint, [6',
        ),
        ('steps', dict(gamma=0.5), 'param_scheduler.0.gamma: 0.1 in the checkpoint, 0.5 in'),
        ('steps', dict(milestones=[6, 20], end=24), 'param_scheduler.0.milestones: '),
        ('cosine', dict(T_max=24), 'param_scheduler.0.T_max: 12 in the checkpoint, 24 in'),
        ('cosine', dict(eta_min=0.1), 'param_scheduler.0.eta_min: 0.0 in the checkpoint, 0.1'),
        ('poly', dict(end=24), 'param_scheduler.0.end: 12 in the checkpoint, 24 in'),
        ('poly', dict(by_epoch=False), 'param_scheduler.0.by_epoch: True in the'),
        ('cycle', dict(total_steps=24), 'param_scheduler.0.total_steps: 12 in the'),
        ('momentum', dict(T_max=24), 'param_scheduler.0.T_max: 12 in the checkpoint, 24 in'),
    ],
    ids=str,
)
def test_settings_that_mmengine_would_ignore(name, change, difference):
    schedule = SCHEDULES[name]
    now = built({**schedule, **change}, seen=0)
    checkpoint = saved(built(schedule))
    found = differences(now, checkpoint)
    assert any(line.startswith(difference) for line in found), found
    with pytest.raises(
        RecipeError,
        match=r'\nTo .*load_from=FILE --work-dir NEW without --resume\n\(checks\.schedule=False',
    ) as told:
        SameSchedule().after_load_checkpoint(now, checkpoint)
    counted = any(name in difference for name in ('T_max', 'end', 'milestones', 'total_steps'))
    assert ('the batch size, the processes and the images' in str(told.value)) is counted
    now.cfg.checks = dict(schedule=False)
    SameSchedule().after_load_checkpoint(now, checkpoint)
    key = next(iter(change))  # the reason for the check: mmengine ignores it
    now.param_schedulers[0].load_state_dict(checkpoint['param_schedulers'][0])
    old = built(schedule, seen=0).param_schedulers[0]
    assert getattr(now.param_schedulers[0], key) == getattr(old, key)


def test_a_longer_run_whose_steps_are_the_same():
    now = built({**SCHEDULES['steps'], 'end': 24}, seen=0)
    assert differences(now, saved(built(SCHEDULES['steps']))) == []


@pytest.mark.parametrize(
    ('before', 'after', 'differs'),
    [(9, 12, False), (8, 12, True), (12, 8, True), (12, 9, False)],
)
def test_an_end_at_the_last_milestone_matters(before, after, differs):
    """A schedule that ends there does not take that step."""
    now, then = ({**SCHEDULES['steps'], 'end': end} for end in (after, before))
    lines = [f'param_scheduler.0.end: {before} in the checkpoint, {after} in the config']
    assert differences(built(now, seen=0), saved(built(then))) == lines * differs


def test_lists_are_equal_to_tuples_and_new_settings_unknown():
    checkpoint = saved(built(SCHEDULES['steps']))
    now = built(SCHEDULES['steps'], seen=0)
    for group in now.optim_wrapper.optimizer.param_groups:
        group['betas'], group['new'] = (0.9, 0.999), 1
    for group in checkpoint['optimizer']['param_groups']:
        group['betas'] = [0.9, 0.999]
    assert differences(now, checkpoint) == []
    checkpoint['optimizer']['param_groups'][1]['betas'] = [0.9, 0.99]
    (line,) = differences(now, checkpoint)
    assert line.startswith('optim_wrapper, group 1 of the optimizer: betas: [0.9, 0.99] in the')
    now.optim_wrapper.optimizer.param_groups[1]['betas'] = 0.9
    (line,) = differences(now, checkpoint)
    assert line.endswith('betas: [0.9, 0.99] in the checkpoint, 0.9 in the config')


@pytest.mark.parametrize('key', ['foreach', 'fused', 'capturable', 'differentiable'])
def test_implementations_are_no_settings(key):
    checkpoint, now = saved(built()), built(seen=0)
    for theirs, ours in zip(
        checkpoint['optimizer']['param_groups'], now.optim_wrapper.optimizer.param_groups
    ):
        theirs[key], ours[key] = None, True
    assert differences(now, checkpoint) == []


def test_five_differences_are_shown_whole():
    now = built(dict(SCHEDULES['cosine'], eta_min=1), seen=0, weight_decay=0.1, nesterov=True)
    lines = differences(now, saved(built(SCHEDULES['cosine'])))
    assert len(lines) == 5 and not any('more' in line for line in lines)


def test_other_schedulers():
    linear, steps, cosine = (SCHEDULES[name] for name in ('linear', 'steps', 'cosine'))
    checkpoint = saved(built(linear, steps))
    (line,) = differences(built(linear, seen=0), checkpoint)
    assert line == 'param_scheduler: 2 schedulers in the checkpoint, 1 here'
    (line,) = differences(built(linear, cosine, seen=0), checkpoint)
    assert line.startswith("param_scheduler.1: the checkpoint has no ['T_max', 'eta_min'")
    assert line.endswith('of CosineAnnealingLR')


def test_a_checkpoint_without_schedulers():
    """Of a run that had none, or with save_param_scheduler=False: a warm-up would come again."""
    runner, checkpoint = built(SCHEDULES['linear'], seen=0), saved(built())
    assert differences(built(), checkpoint) == []
    del checkpoint['param_schedulers']
    message = 'param_scheduler: none in the checkpoint, so those here would start over'
    assert differences(runner, checkpoint) == [message]
    assert differences(built(), checkpoint) == []


@pytest.mark.parametrize('schedulers', [(), (SCHEDULES['cosine'],)], ids=['constant', 'cosine'])
@pytest.mark.parametrize(
    'change, difference',
    [
        (dict(weight_decay=0.1), 'weight_decay: 0.05 in the checkpoint, 0.1 in the config'),
        (dict(nesterov=True), 'nesterov: False in the checkpoint, True in the config'),
        (dict(foreach=True), ''),
    ],
    ids=str,
)
def test_settings_of_the_optimizer(schedulers, change, difference):
    found = differences(built(*schedulers, seen=0, **change), saved(built(*schedulers)))
    lines = [f'optim_wrapper, group {i} of the optimizer: {difference}' for i in (0, 1)]
    assert found == (lines if difference else [])


@pytest.mark.parametrize('schedulers', [(), (SCHEDULES['cosine'],)], ids=['constant', 'cosine'])
def test_another_learning_rate(schedulers):
    now = built(*schedulers, seen=0)
    for group in now.optim_wrapper.optimizer.param_groups:
        for key in {'lr', 'initial_lr'} & set(group):
            group[key] *= 2
    found = differences(now, saved(built(*schedulers)))
    assert found[0].endswith(
        'group 0 of the optimizer: lr: 0.1 in the checkpoint, 0.2 in the config'
    )
    assert len(found) == 2


def test_long_lists_are_cut():
    changes = dict(weight_decay=0.1, nesterov=True, dampening=0)
    now = built(dict(SCHEDULES['cosine'], T_max=1, eta_min=1), seen=0, **changes)
    lines = differences(now, saved(built(SCHEDULES['cosine'])))
    assert len(lines) == 6 and lines[-1] == 'and 1 more'


def test_a_difference_that_is_let_pass_is_a_warning(monkeypatch):
    lines = []
    monkeypatch.setattr(module, 'log_rank0', lambda line, level: lines.append((line, level)))
    runner, checkpoint = built(SCHEDULES['cosine'], seen=0), saved(built(SCHEDULES['linear']))
    with pytest.raises(RecipeError, match='differ from those of the run to resume'):
        SameSchedule().after_load_checkpoint(runner, checkpoint)
    assert lines == []
    runner.cfg.checks = dict(schedule=False)
    SameSchedule().after_load_checkpoint(runner, checkpoint)
    ((line, level),) = lines
    assert 'differ from those of the run to resume' in line and level == logging.WARNING


def test_several_optimizers():
    runs = {name: built(SCHEDULES['cosine']) for name in 'ab'}
    checkpoint = dict(
        param_schedulers={name: saved(run)['param_schedulers'] for name, run in runs.items()},
        optimizer={name: run.optim_wrapper.state_dict() for name, run in runs.items()},
    )
    runs['b'] = built(dict(SCHEDULES['cosine'], T_max=24), seen=0, weight_decay=0.1)
    now = SimpleNamespace(
        param_schedulers={name: run.param_schedulers for name, run in runs.items()},
        optim_wrapper=OptimWrapperDict(**{n: run.optim_wrapper for n, run in runs.items()}),
    )
    found = differences(now, checkpoint)
    assert found[0] == 'param_scheduler.b.0.T_max: 12 in the checkpoint, 24 in the config'
    assert found[1].startswith('optim_wrapper.b, group 0 of the optimizer: weight_decay: 0.05')
    now.param_schedulers['a'] = []
    assert differences(now, checkpoint)[:2] == [
        'param_scheduler.a: 1 schedulers in the checkpoint, 0 here',
        found[0],
    ]


# The tool


def resume(*options, config=UPERNET):
    forget_runs()
    argv = [config, '--toy', '--work-dir', 'run', '--resume', '--cfg-options']
    return main([*argv, *TINY_SEGMENTOR, 'train_cfg.max_iters=3', *options])


@pytest.mark.slow
def test_the_tool_refuses_another_schedule(segmentor_run, workplace):
    shutil.copytree(segmentor_run.work_dir, 'run')
    with pytest.raises(
        RecipeError,
        match=r'the settings in the config differ from those of the run .*\n'
        r'  param_scheduler\.1\.end: 1600 in the checkpoint, 3200 in the config\n'
        r'[^\n]*load_from=FILE',
    ):
        resume('param_scheduler.1.end=3200')
    with pytest.raises(RecipeError, match=r'optimizer: lr: [0-9.e-]+ in the checkpoint'):
        resume('optim_wrapper.optimizer.lr=1')
    assert resume('param_scheduler.1.end=3200', 'checks.schedule=False').iter == 3


def test_the_tool_resumes_what_is_honoured(segmentor_run, workplace):
    shutil.copytree(segmentor_run.work_dir, 'run')
    changes = ('optim_wrapper.accumulative_counts=2', 'model.backbone.drop_path_rate=0.1')
    with pytest.raises(RecipeError, match=r'accumulative_counts: none in the checkpoint, 2 here'):
        resume(*changes)
    changes += ('default_hooks.checkpoint.interval=1', 'checks.resumed_config=False')
    assert resume(*changes).iter == 3
