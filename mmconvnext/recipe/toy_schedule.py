# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The schedule of ``--toy``: shorter, with the recipe's proportions."""

from __future__ import annotations

from mmengine.config import Config

from .errors import RecipeError
from .walk import default_hook, dicts, type_name

WARMUP = 50  # iterations; our choice
# Schedulers that may raise the rate at the start, by parts of their names.
WARMUPS = ('Linear', 'Constant', 'Warmup')
# Keys of hooks in the unit of the train loop: PipelineSwitchHook, YOLOXModeSwitchHook, EMAHook.
HOOK_KEYS = dict(
    max_epochs=('switch_epoch', 'num_last_epochs', 'begin_epoch', 'stop_epoch'),
    max_iters=('switch_iter', 'num_last_iters', 'begin_iter'),
)


def shorten(cfg: Config, epochs: int, iterations: int, lr_factor: float = 1.0) -> None:
    """Shorten the schedule to ``epochs`` or ``iterations``, whichever the recipe counts, in place.

    It ends with one validation and one checkpoint. Warm-ups by iteration get ``WARMUP``
    iterations. Minimum learning rates are multiplied by ``lr_factor``, as the rate itself was.

    Raises:
        RecipeError: the train loop has neither ``max_epochs`` nor ``max_iters``.
    """
    unit = next((key for key in HOOK_KEYS if key in cfg.train_cfg), None)
    if unit is None:
        raise RecipeError(
            f'--toy shortens train_cfg.max_epochs or max_iters; train_cfg={dict(cfg.train_cfg)} '
            'has neither. Try the recipe on a small data set of your own, with own_data'
        )
    new = dict(max_epochs=epochs, max_iters=iterations)[unit]
    whole = cfg.train_cfg[unit]
    cfg.param_scheduler = _schedulers(cfg, unit, dict(max_epochs=epochs, max_iters=iterations))
    for node in cfg.param_scheduler:
        if 'eta_min' in node:
            node['eta_min'] *= lr_factor
    for key in ('dynamic_intervals', 'val_begin'):
        cfg.train_cfg.pop(key, None)
    cfg.train_cfg.update({unit: new, 'val_interval': new})
    default_hook(cfg, 'checkpoint', 'CheckpointHook').interval = new
    for _, hook in dicts(cfg.get('custom_hooks') or []):
        for key in HOOK_KEYS[unit]:
            if isinstance(hook.get(key), int):  # it acts before the end, as in the recipe
                hook[key] = min(_moved(hook[key], whole, new), new - 1)


def _schedulers(cfg: Config, unit: str, lengths: dict[str, int]) -> list:
    """The schedulers, shortened; those that end up without a step are left out."""
    given = cfg.get('param_scheduler') or []
    given = [given] if isinstance(given, dict) else list(given)
    by_iteration = [node for node in given if _unit(node) == 'max_iters']
    # The length of a run by epoch in iterations is unknown: take the end of the last scheduler.
    last = max([node.get('end') or 0 for node in by_iteration], default=0)
    wholes = {'max_iters': last, unit: cfg.train_cfg[unit]}
    warmups = [node for node in by_iteration if _is_warmup(node, cfg.train_cfg.get('max_iters'))]
    ends = [node.get('end') for node in warmups]
    for node in given:
        if any(node is warmup for warmup in warmups):
            node['end'] = WARMUP
            continue
        whole_period = node.get('T_max') == (node.get('end') or 0) - node.get('begin', 0)
        follows = _unit(node) == 'max_iters' and node.get('begin') in ends
        _scale(node, wholes[_unit(node)], lengths[_unit(node)])
        if follows:
            node['begin'] = WARMUP
        if whole_period:
            node['T_max'] = max(1, node['end'] - node.get('begin', 0))
    return [node for node in given if node.get('end') is None or node.get('begin', 0) < node['end']]


def _is_warmup(node: dict, length: int | None) -> bool:
    """Whether a scheduler by iteration is a warm-up, in a run of ``length`` iterations."""
    raises = any(part in type_name(node) for part in WARMUPS)
    return raises and not node.get('begin') and node.get('end') not in (None, length)


def _scale(node: dict, whole: int, new: int) -> None:
    for key in ('begin', 'end', 'T_max', 'total_steps'):
        if isinstance(node.get(key), int):
            node[key] = _moved(node[key], whole, new)
    for key in ('milestones', 'periods'):
        if key in node:
            node[key] = [_moved(step, whole, new) for step in node[key]]


def _unit(scheduler: dict) -> str:
    return 'max_epochs' if scheduler.get('by_epoch', True) else 'max_iters'


def _moved(step: int, whole: int, new: int) -> int:
    """Map ``step`` of ``whole`` steps to one of ``new`` steps; only 0 becomes 0."""
    return min(new, max(1, round(step * new / whole))) if step else 0
