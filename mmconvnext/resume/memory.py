# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the parts of a process remember from one iteration to the next, and mmengine does not save.

Parts that look at the count of epochs or iterations instead, such as mmdet's YOLOXModeSwitchHook,
PipelineSwitchHook and MeanTeacherHook, and mmengine's schedulers, go on by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from operator import attrgetter

import numpy as np
import torch
from mmengine.hooks import EMAHook
from mmengine.runner import Runner
from torch import Tensor, nn

# Attributes by the name of the class: of mmengine's hooks, of mmdet's modules, and of torch's
# wrapper, which notes whether the next forward pass sends rank 0's buffers to the others: not
# within a step over several iterations.
OF_HOOKS = {'EarlyStoppingHook': ('wait_count', 'best_score')}
OF_MODULES = {
    'BatchSyncRandomResize': ('_input_size',),
    'DDODHead': ('cls_num_pos_samples_per_level', 'reg_num_pos_samples_per_level'),
    'DistributedDataParallel': ('require_forward_param_sync',),
    'DropBlock': ('iter_cnt',),
    'DynamicRoIHead': (
        *('iou_history', 'beta_history', 'bbox_head.loss_bbox.beta'),
        *('bbox_assigner.pos_iou_thr', 'bbox_assigner.neg_iou_thr', 'bbox_assigner.min_pos_iou'),
    ),
}
Memory = dict[str, dict[str, object]]


def collect_memory(runner: Runner, model: nn.Module) -> Memory:
    """The attributes of the parts that are listed above, and the states of hooks that have
    ``state_dict`` and ``load_state_dict``."""
    found = {
        key: {name: _plain(attrgetter(name)(part)) for name in names}
        for key, part, names in _listed(runner, model)
    }
    return found | {key: hook.state_dict() for key, hook in _stateful(runner)}


def restore_memory(runner: Runner, model: nn.Module, saved: Mapping) -> None:
    """Set what :func:`collect_memory` found; parts that it did not know stay as they are."""
    for key, part, names in _listed(runner, model):
        for name in names:
            if name in saved.get(key, {}):
                owner, _, own = name.rpartition('.')
                setattr(attrgetter(owner)(part) if owner else part, own, saved[key][name])
    for key, hook in _stateful(runner):
        if key in saved:
            hook.load_state_dict(saved[key])


def collect_buffers(runner: Runner, model: nn.Module) -> dict[str, Tensor]:
    """Those of the model and of its averages. mmengine saves those of rank 0, but the statistics of
    a batch norm that is not SyncBN are those of the images of a process."""
    return {name: value.cpu() for name, value in _buffers(runner, model)}


def others(own: Mapping[str, Tensor], first: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The buffers of a process that are not those of rank 0."""
    return {name: value for name, value in own.items() if not torch.equal(value, first[name])}


def restore_buffers(runner: Runner, model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Set the buffers of this process that differed from those of rank 0."""
    for name, value in _buffers(runner, model):
        if name in saved:
            value.copy_(saved[name])


def _buffers(runner: Runner, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those that a checkpoint holds."""
    averages = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    for index, whole in enumerate([model, *averages]):
        for path, module in whole.named_modules():
            for name, value in module._buffers.items():
                if value is not None and name not in module._non_persistent_buffers_set:
                    yield f'{index}.{path}.{name}', value


def _listed(runner: Runner, model: nn.Module) -> Iterator[tuple[str, object, tuple[str, ...]]]:
    """A name, the part, and its attributes."""
    for hook in runner.hooks:
        for kind in type(hook).__mro__:
            if kind.__name__ in OF_HOOKS:
                # Of another metric the best value means nothing.
                watched = (str(getattr(hook, name, '')) for name in ('monitor', 'rule'))
                yield ' '.join((kind.__name__, *watched)), hook, OF_HOOKS[kind.__name__]
    wrapper = [('wrapper', runner.model)] * (runner.model is not model)
    for path, module in [*wrapper, *model.named_modules()]:
        for kind in type(module).__mro__:
            if kind.__name__ in OF_MODULES:
                yield path, module, OF_MODULES[kind.__name__]


def _stateful(runner: Runner) -> Iterator[tuple[str, object]]:
    counts: Counter[str] = Counter()
    for hook in runner.hooks:
        if hasattr(hook, 'state_dict') and hasattr(hook, 'load_state_dict'):
            name = type(hook).__name__
            counts[name] += 1
            yield f'{name} {counts[name]}', hook


def _plain(value: object) -> object:
    """Numbers of numpy as Python's, which are bitwise the same."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value
