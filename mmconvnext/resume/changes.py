# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How the settings of a run to resume differ from those in the checkpoint.

A checkpoint holds the settings that the result depends on; what only changes where files are, how
fast they are read, or what is logged and validated, is left out, and may change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from mmengine.dist import get_rank, get_world_size
from mmengine.runner import Runner

from ..recipe.annotations import restore_listed
from ..recipe.checks.finding import Finding
from ..recipe.walk import type_name, unimported_name

MOST = 8  # differences shown in the message; our choice
# Groups of settings and what a change does. mmengine restores learning rates and schedules from
# the checkpoint, so hooks/same_schedule.py compares those.
GROUPS = {
    'model': 'the optimizer goes on with averages of the gradients of other losses or layers',
    'train_dataloader': 'images, batches or augmentations are others; the position in the epoch '
    'no longer means the same images, so some are seen twice and some not at all',
    'optim_wrapper': 'steps become larger or smaller, or average other numbers of images',
    'train_cfg': 'epochs and iterations are counted in another way',
    'custom_hooks': 'averages of the weights, or switches during the run, begin anew',
    'default_hooks': 'schedules, the order of the images, or averages of the weights change',
    'randomness': 'images come in another order, with other augmentations',
    'processes': 'batches are larger or smaller, and the learning rates fit the old ones',
    'sync_bn': 'statistics of batch norm are those of other batches',
}
BATCH = ('processes', 'train_dataloader.batch_size')
SAME_BATCH = (
    'images and augmentations stay as they were; what is random in the model, such as stochastic '
    'depth, does not'
)
# Keys at any depth that say where and how fast, or what only matters when weights begin.
NO_EFFECT = {
    *('data_root', 'backend_args', 'file_client_args', 'init_cfg', 'pretrained', 'test_cfg'),
    *('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'timeout'),
    *('multiprocessing_context', 'worker_init_fn', 'disable_subprocess_warning'),
    *('max_epochs', 'max_iters', 'val_begin', 'val_interval', 'dynamic_intervals', 'with_cp'),
    *('kernels', 'serialize_data', 'lazy_init'),
}
# Hooks that mmengine registers by these names: they look, save, or are compared in another way.
MMENGINES = {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}
# Hooks that only look.
LOOKERS = {
    *('CheckInvalidLossHook', 'DetVisualizationHook', 'EmptyCacheHook', 'MemoryProfilerHook'),
    *('NumClassCheckHook', 'ProfilerHook', 'SegVisualizationHook', 'EarlyStoppingHook'),
}


def settings_of(runner: Runner) -> dict[str, str]:
    """The settings of a run that its result depends on: by path, as text."""
    cfg = copy.deepcopy(runner.cfg)
    restore_listed(cfg)
    found: dict[str, str] = {}
    for group in ('model', 'train_dataloader', 'optim_wrapper', 'train_cfg', 'sync_bn'):
        found.update(_flat(group, cfg.get(group)))
    hooks = cfg.get('custom_hooks') or []
    hooks = [hook for hook in hooks if not isinstance(hook, dict) or type_name(hook) not in LOOKERS]
    found.update(_flat('custom_hooks', hooks))
    defaults = cfg.get('default_hooks') or {}
    for name in ('sampler_seed', 'param_scheduler'):
        found[f'default_hooks.{name}'] = str(defaults.get(name, True) is not None)
    for name, hook in defaults.items():
        if name not in MMENGINES and not (isinstance(hook, dict) and type_name(hook) in LOOKERS):
            found.update(_flat(f'default_hooks.{name}', hook))
    # Learning rates and the like of the optimizer, see above.
    rates = [key for key in found if key.startswith('optim_wrapper.optimizer.')]
    found = {key: found[key] for key in found if key not in rates or key.endswith('.type')}
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if 'optimizer_type' in optimizer:  # ZeroRedundancyOptimizer: the same steps, its state divided
        found['optim_wrapper.optimizer.type'] = str(optimizer['optimizer_type'])
    randomness = cfg.get('randomness') or {}
    by_rank = bool(randomness.get('diff_rank_seed'))
    found['randomness.seed'] = str(runner.seed - by_rank * get_rank())
    found['randomness.diff_rank_seed'] = str(by_rank)
    found['processes'] = str(get_world_size())
    found['train_dataloader: samples'] = str(len(runner.train_dataloader.dataset))
    return found


def compare(saved: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Finding]:
    """Yield one finding with the settings that differ, and what a change of their groups does."""
    paths = [path for path in {**saved, **now} if saved.get(path) != now.get(path)]
    if not paths:
        return
    what = f'{len(paths)} settings' if paths[1:] else 'a setting'
    lines = [
        f'  {path}: {saved.get(path, "none")} in the checkpoint, {now.get(path, "none")} here'
        for path in paths[:MOST]
    ]
    if paths[MOST:]:
        lines.append(f'  and {len(paths) - MOST} more')
    equal = _same_batch(saved, now)
    lines += [f'processes x batch_size is the same: {SAME_BATCH}'] * equal
    paths = [path for path in paths if not (equal and path in BATCH)]
    groups = dict.fromkeys(path.partition('.')[0].partition(':')[0] for path in paths)
    lines += [f'{group}: {GROUPS[group]}' for group in groups]
    yield Finding(
        f'{what} of the run to resume changed, so that its result would be neither that of the old '
        'config nor that of the new one:\n' + '\n'.join(lines) + '\nWrite the old '
        'values into the config; or begin a new run from the weights with --cfg-options '
        'load_from=FILE --work-dir NEW, without --resume',
        'resumed_config',
    )


def unequal(ranks: list[Mapping[str, str]]) -> str:
    """How the settings of the first process that differs from rank 0 do; '' if none does.

    They would wait for each other for ever, or average what does not belong together. Folders may
    differ: those of a machine of its own.
    """
    for rank, own in enumerate(ranks):
        every = {**ranks[0], **own}
        pairs = {path: (ranks[0].get(path, 'none'), own.get(path, 'none')) for path in every}
        paths = [path for path, (a, b) in pairs.items() if a != b and not ('/' in a and '/' in b)]
        if paths:
            lines = [
                f'  {path}: {pairs[path][0]} on rank 0, {pairs[path][1]} on rank {rank}'
                for path in paths[:MOST]
            ]
            return (
                'the processes differ:\n'
                + '\n'.join(lines)
                + '\nAll need the same config and the same data'
            )
    return ''


def _same_batch(saved: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether the processes changed, and the images of a step did not."""
    if saved.get('processes') == now.get('processes'):
        return False
    try:
        before, after = ([int(one[path]) for path in BATCH] for one in (saved, now))
    except (KeyError, ValueError):  # a batch sampler may have the size
        return False
    return before[0] * before[1] == after[0] * after[1]


def _flat(path: str, node: object) -> Iterator[tuple[str, str]]:
    """The leaves below a node of a config, as text."""
    if isinstance(node, Mapping):
        for key in sorted(node, key=str):
            if key == 'type':
                yield f'{path}.type', unimported_name(node)
            elif key in ('ann_file', 'data_prefix'):  # a folder may move, a file has its name
                yield from _flat(f'{path}.{key}', _names(node[key]))
            elif key not in NO_EFFECT:
                yield from _flat(f'{path}.{key}', node[key])
    elif isinstance(node, (list, tuple)):
        if any(isinstance(inner, Mapping) for inner in node):
            for index, inner in enumerate(node):
                yield from _flat(f'{path}.{index}', inner)
        else:
            yield path, repr(_lists(node))
    elif node is None or isinstance(node, (str, int, float)):
        yield path, repr(node)
    else:  # a class or an object, whose repr would hold its address
        yield path, getattr(node, '__name__', type(node).__name__)


def _lists(node: object) -> object:
    """Tuples become lists: a config that was saved may have the other."""
    return [_lists(inner) for inner in node] if isinstance(node, (list, tuple)) else node


def _names(node: object) -> object:
    if isinstance(node, Mapping):
        return {key: _names(value) for key, value in node.items()}
    return PurePath(node).name if isinstance(node, str) else node
