# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Translate training length, learning rates, optimizer, mixed precision and gradient clipping."""

from __future__ import annotations

from ...recipe.errors import RecipeError
from ..notes import Notes

# Runners of mmcv 1 and of Meta's forks, whose ``Amp`` is apex.
RUNNERS = {
    'EpochBasedRunner': 'max_epochs',
    'EpochBasedRunnerAmp': 'max_epochs',
    'IterBasedRunner': 'max_iters',
    'IterBasedRunnerAmp': 'max_iters',
}
LOOPS = {'max_epochs': 'EpochBasedTrainLoop', 'max_iters': 'IterBasedTrainLoop'}
# Options of mmcv 1's hooks that have no counterpart in torch or only tune communication.
PACING = ('coalesce', 'bucket_size_mb', 'type', 'use_fp16')


def length(cfg: dict) -> tuple[str, int]:
    """('max_epochs', 36) or ('max_iters', 160000).

    Raises:
        RecipeError: an unknown runner, or no length.
    """
    runner = cfg.get('runner') or {}
    unit = RUNNERS.get(runner.get('type', 'EpochBasedRunner'))
    if unit is None:
        raise RecipeError(f'runner.type={runner["type"]!r}: supported are {list(RUNNERS)}')
    value = runner.get(unit, cfg.get('total_epochs' if unit == 'max_epochs' else 'total_iters'))
    if value is None:
        raise RecipeError(f'the length of training is missing: write runner = dict({unit}=...)')
    return unit, value


def train_loop(cfg: dict) -> dict:
    """The ``train_cfg`` of mmengine's runner."""
    unit, value = length(cfg)
    every = (cfg.get('evaluation') or {}).get('interval', 1)
    return {'type': LOOPS[unit], unit: value, 'val_interval': every}


def param_schedulers(cfg: dict, notes: Notes) -> list[dict]:
    """Turn ``lr_config`` into ``param_scheduler``: the warm-up, and the policy from iteration 0.

    In mmcv 1 the warm-up factor multiplies the policy's learning rate; mmengine does the same while
    both schedulers are active. mmengine's warm-up and polynomial decay end one iteration before
    ``end``. The numbers are kept, as in OpenMMLab's own configs: a warm-up of 500 takes 499
    iterations.
    """
    policy = dict(cfg.get('lr_config') or {'policy': 'fixed'})
    unit, end = length(cfg)
    by_epoch = policy.pop('by_epoch', True) and unit == 'max_epochs'
    new = []
    if warmup := policy.pop('warmup', None):
        new += _warmup(warmup, policy, notes)
    name = str(policy.pop('policy')).lower()
    span = dict(begin=0, end=end, by_epoch=by_epoch)
    for key in ('warmup_iters', 'warmup_ratio', 'warmup_by_epoch'):
        policy.pop(key, None)
    if name == 'step':
        steps = policy.pop('step')
        gamma = policy.pop('gamma', 0.1)  # mmcv 1's default
        if isinstance(steps, int):
            new.append(dict(type='StepLR', **span, step_size=steps, gamma=gamma))
        else:
            new.append(dict(type='MultiStepLR', **span, milestones=list(steps), gamma=gamma))
    elif name == 'poly':
        power, least = policy.pop('power', 1.0), policy.pop('min_lr', 0.0)
        new.append(dict(type='PolyLR', power=power, eta_min=least, **span))
    elif name == 'cosineannealing':
        floor = _floor(policy)
        # mmcv 1 steps by iteration only with by_epoch=False.
        new.append(dict(type='CosineAnnealingLR', T_max=end, **floor, **span))
    elif name != 'fixed':
        notes.lose(
            f'lr_config.policy={name!r}',
            'only step, poly, CosineAnnealing and fixed can be translated',
        )
        policy.clear()
    for key, value in policy.items():
        notes.lose(f'lr_config.{key}={value!r}', 'mmengine has no such option')
    return new


def _floor(policy: dict) -> dict:
    if 'min_lr_ratio' in policy:
        return dict(eta_min_ratio=policy.pop('min_lr_ratio'))
    return dict(eta_min=policy.pop('min_lr', 0.0))


def _warmup(kind: str, policy: dict, notes: Notes) -> list[dict]:
    # mmcv 1's defaults: no iterations, a tenth of the rate.
    until, ratio = policy.get('warmup_iters', 0), policy.get('warmup_ratio', 0.1)
    span = dict(by_epoch=bool(policy.get('warmup_by_epoch', False)), begin=0, end=until)
    if kind == 'linear':
        return [dict(type='LinearLR', start_factor=ratio, **span)]
    if kind == 'constant':
        return [dict(type='ConstantLR', factor=ratio, **span)]
    notes.lose(f'lr_config.warmup={kind!r}', 'mmengine has linear and constant warm-up only')
    return []


def optim_wrapper(cfg: dict, notes: Notes) -> dict:
    """Turn ``optimizer``, ``optimizer_config``, ``fp16`` and the runner into ``optim_wrapper``.

    Raises:
        RecipeError: there is no optimizer.
    """
    if not cfg.get('optimizer'):
        raise RecipeError(
            'optimizer is missing; if it is in a missing base, use --bases FOLDER, otherwise write '
            "one, such as optimizer = dict(type='AdamW', lr=1e-4, weight_decay=0.05)"
        )
    optimizer = {k: v for k, v in cfg['optimizer'].items() if k != '_delete_'}
    constructor = optimizer.pop('constructor', None)
    paramwise = optimizer.pop('paramwise_cfg', None)
    hook = dict(cfg.get('optimizer_config') or {})
    wrapper: dict = {'type': 'OptimWrapper', 'optimizer': optimizer}
    if constructor and constructor not in ('DefaultOptimizerConstructor',):
        wrapper['constructor'] = constructor
    if paramwise:
        wrapper['paramwise_cfg'] = paramwise
    if (scale := _loss_scale(cfg, hook, notes)) is not None:
        wrapper.update(type='AmpOptimWrapper', **scale)
    if clip := hook.pop('grad_clip', None):
        wrapper['clip_grad'] = clip
    every = hook.pop('cumulative_iters', hook.pop('update_interval', 1))
    if every != 1:
        wrapper['accumulative_counts'] = every
    hook.pop('loss_scale', None)
    for key in set(hook) - set(PACING):
        notes.lose(f'optimizer_config.{key}={hook[key]!r}', 'OptimWrapper has no such option')
    return wrapper


def _loss_scale(cfg: dict, hook: dict, notes: Notes) -> dict | None:
    """The options of AmpOptimWrapper; None without mixed precision."""
    if hook.get('use_fp16'):
        notes.change('apex fp16 (DistOptimizerHook) became AmpOptimWrapper, float16 autocast')
        return {}  # its default is a dynamic loss scale, like apex's
    scale = (cfg.get('fp16') or {}).get('loss_scale') if cfg.get('fp16') is not None else None
    if cfg.get('fp16') is None and 'Fp16' in str(hook.get('type')):
        scale = hook.get('loss_scale', 512.0)
    elif cfg.get('fp16') is None:
        return None
    return {} if scale in (None, 'dynamic') else dict(loss_scale=scale)
