# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Update a whole old config, and base it on the configs that mmdet 3 and mmseg 1 ship."""

from __future__ import annotations

from pathlib import Path

from ...recipe.errors import RecipeError
from ..diff import difference
from ..notes import Notes
from ..source import shipped
from ..write import format_config, merged
from .data import DataReader, innermost
from .model import renewed_model
from .pipeline import PipelineReader
from .runtime import renew_runtime
from .schedule import length, optim_wrapper, param_schedulers, train_loop


def modernize(cfg: dict, task: str, notes: Notes) -> tuple[dict, list[Path]]:
    """The config for mmdet 3 or mmseg 1, and the shipped files to use as its bases.

    Raises:
        RecipeError: the project is not installed, or a part cannot be rewritten.
    """
    root = shipped().get(task)
    if root is None:
        raise RecipeError(f'{task} is not installed; install it, its configs serve as bases')
    pipelines = PipelineReader(task, notes)
    reader = DataReader(cfg, task, pipelines, notes)
    loaders = reader.loaders()
    preprocessor = dict(pipelines.preprocessor)
    if pipelines.masks:
        preprocessor['pad_mask'] = True
    if task == 'mmseg':
        preprocessor = {'pad_val': 0, 'seg_pad_val': 255, **preprocessor}
    model = renewed_model(cfg, preprocessor, task, notes)
    bases = _bases(cfg, root / '_base_', task, pipelines.masks, model)
    target = merged(bases)
    for key in ('dataset_type', 'data_root', 'crop_size', 'norm_cfg'):
        if key in cfg and key in target:
            target[key] = cfg[key]
    if 'custom_imports' in cfg or 'custom_imports' in target:  # never the base's
        target['custom_imports'] = cfg.get('custom_imports') or dict(imports=[])
    target.update(
        model=model,
        optim_wrapper=optim_wrapper(cfg, notes),
        param_scheduler=param_schedulers(cfg, notes),
        train_cfg=train_loop(cfg),
        **loaders,
        **reader.evaluators(),
    )
    if 'data_preprocessor' in target:
        target['data_preprocessor'] = model['data_preprocessor']
    if 'optimizer' in target:  # a variable of mmseg's schedules
        target['optimizer'] = target['optim_wrapper']['optimizer']
    renew_runtime(cfg, target, task, notes)
    return target, bases


def _bases(cfg: dict, root: Path, task: str, masks: bool, model: dict) -> list[Path]:
    if task == 'mmdet':
        data = 'coco_instance.py' if masks else 'coco_detection.py'
        found = ['datasets/' + data, 'schedules/schedule_1x.py', 'default_runtime.py']
    else:
        thousands = length(cfg)[1] // 1000
        schedule = f'schedules/schedule_{thousands}k.py'
        schedule = schedule if (root / schedule).is_file() else 'schedules/schedule_160k.py'
        kind = (innermost((cfg.get('data') or {}).get('train')) or {}).get('type', '')
        found = [_dataset_base(root, kind), schedule, 'default_runtime.py']
    return [*_model_base(root, model), *(root / name for name in found)]


def _dataset_base(root: Path, kind: str) -> str:
    for path in sorted((root / 'datasets').glob('*.py')):
        if f"dataset_type = '{kind}'" in path.read_text(encoding='utf-8'):
            return f'datasets/{path.name}'
    return 'datasets/ade20k.py'


def _model_base(root: Path, model: dict) -> list[Path]:
    """The shipped model of the same type that differs the least."""
    lengths = {}
    for path in sorted((root / 'models').glob('*.py')):
        if f"type='{model['type']}'" in path.read_text(encoding='utf-8'):
            base = merged([path])
            if base.get('model', {}).get('type') == model['type']:
                lengths[path] = len(format_config(difference(base['model'], model)))
    best = min(lengths, key=lengths.get, default=None)
    whole = len(format_config(model))
    return [best] if best and lengths[best] < whole else []
