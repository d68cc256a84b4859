# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mm2/schedule.py: rates over a whole training equal mmcv 1's, computed with its formulas."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmconvnext.migrate.mm2.schedule import length, optim_wrapper, param_schedulers, train_loop
from mmconvnext.migrate.notes import Notes
from mmconvnext.recipe.errors import RecipeError

EPOCHS = dict(runner=dict(type='EpochBasedRunner', max_epochs=4))
ITERS = dict(runner=dict(type='IterBasedRunnerAmp', max_iters=40))
PER_EPOCH, LR = 10, 1e-3
ADAMW = dict(type='AdamW', lr=1e-4, weight_decay=0.05)


def warmed(regular, step, iters, ratio):
    """LrUpdaterHook.get_warmup_lr of mmcv 1: a linear warm-up multiplies the regular rate.

    mmengine ends one iteration earlier, at ``end - 1``, in all configs that were migrated to it.
    """
    iters -= 1
    return regular * (1 - (1 - step / iters) * (1 - ratio)) if step < iters else regular


def old_rate(policy, step):
    epoch = step // PER_EPOCH
    if policy['policy'] == 'step':
        regular = LR * 0.1 ** sum(epoch >= mark for mark in policy['step'])
    elif policy['policy'] == 'poly':
        regular = (LR - policy['min_lr']) * (1 - step / 39) ** policy['power'] + policy['min_lr']
    else:
        regular = (
            policy['min_lr'] + (LR - policy['min_lr']) * (1 + math.cos(math.pi * epoch / 4)) / 2
        )
    return warmed(regular, step, policy['warmup_iters'], policy['warmup_ratio'])


@pytest.mark.parametrize(
    ('length_of', 'policy'),
    [
        (EPOCHS, dict(policy='step', step=[2, 3])),
        (ITERS, dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False)),
        (EPOCHS, dict(policy='CosineAnnealing', min_lr=0.0)),
    ],
)
def test_rates_are_those_of_mmcv_1(length_of, policy):
    warmup = dict(warmup='linear', warmup_iters=5, warmup_ratio=0.001)
    cfg = {**length_of, 'lr_config': {**policy, **warmup}}
    notes = Notes()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    schedulers = [
        PARAM_SCHEDULERS.build({**new, 'optimizer': OptimWrapper(optimizer)})
        for new in param_schedulers(cfg, notes)
    ]
    got = []
    for step in range(40):
        got.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or step % PER_EPOCH == PER_EPOCH - 1:
                scheduler.step()
    expected = [old_rate({**policy, **warmup}, step) for step in range(40)]
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert not notes.lost


def test_lengths_and_loops():
    assert length(EPOCHS) == ('max_epochs', 4) and length(dict(total_epochs=7)) == ('max_epochs', 7)
    assert train_loop({**ITERS, 'evaluation': dict(interval=8)}) == dict(
        type='IterBasedTrainLoop', max_iters=40, val_interval=8
    )
    with pytest.raises(RecipeError, match="runner.type='Mine': supported are"):
        length(dict(runner=dict(type='Mine')))
    with pytest.raises(RecipeError, match='length of training is missing'):
        length({})


@pytest.mark.parametrize(
    ('policy', 'lost'),
    [
        (dict(policy='CosineRestart', periods=[1]), "lr_config.policy='cosinerestart'"),
        (dict(policy='step', step=[1], warmup='exp', warmup_iters=5), "lr_config.warmup='exp'"),
        (dict(policy='step', step=[1], min_lr=1e-6), 'lr_config.min_lr=1e-06'),
    ],
)
def test_policies_without_counterpart_are_named(policy, lost):
    notes = Notes()
    param_schedulers({**EPOCHS, 'lr_config': policy}, notes)
    assert [line.split(': ')[0] for line in notes.lost] == [lost]


@pytest.mark.parametrize(
    ('more', 'expected'),
    [
        ({}, dict(type='OptimWrapper')),
        (
            dict(optimizer_config=dict(type='DistOptimizerHook', use_fp16=True, coalesce=True)),
            dict(type='AmpOptimWrapper'),
        ),
        (
            dict(optimizer_config=dict(type='DistOptimizerHook', use_fp16=False)),
            dict(type='OptimWrapper'),
        ),
        (dict(fp16=dict()), dict(type='AmpOptimWrapper')),
        (
            dict(fp16=dict(loss_scale=dict(init_scale=512))),
            dict(type='AmpOptimWrapper', loss_scale=dict(init_scale=512)),
        ),
        (
            dict(optimizer_config=dict(type='Fp16OptimizerHook', loss_scale='dynamic')),
            dict(type='AmpOptimWrapper'),
        ),
        (
            dict(optimizer_config=dict(grad_clip=dict(max_norm=35), update_interval=2)),
            dict(type='OptimWrapper', clip_grad=dict(max_norm=35), accumulative_counts=2),
        ),
    ],
)
def test_precision_clip_and_accumulation(more, expected):
    notes = Notes()
    assert optim_wrapper(dict(optimizer=dict(ADAMW), **more), notes) == {
        **expected,
        'optimizer': ADAMW,
    }
    assert not notes.lost


def test_constructor_and_its_options_move_out_of_the_optimizer():
    optimizer = dict(constructor='LearningRateDecayOptimizerConstructor', _delete_=True, **ADAMW)
    paramwise = dict(decay_rate=0.9, num_layers=6)
    got = optim_wrapper(dict(optimizer={**optimizer, 'paramwise_cfg': paramwise}), Notes())
    assert got['optimizer'] == ADAMW and got['paramwise_cfg'] == paramwise
    assert got['constructor'] == 'LearningRateDecayOptimizerConstructor'


def test_options_of_a_hook_without_counterpart_are_named():
    notes = Notes()
    optim_wrapper(dict(optimizer=ADAMW, optimizer_config=dict(detect_anomalous_params=True)), notes)
    assert 'optimizer_config.detect_anomalous_params=True' in notes.lost[0]
