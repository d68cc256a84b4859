# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Update the model of an old config, with the settings that have since moved into or out of it."""

from __future__ import annotations

from ...recipe.errors import RecipeError
from ...recipe.walk import dicts
from ..notes import Notes

PREPROCESSOR = {'mmdet': 'DetDataPreprocessor', 'mmseg': 'SegDataPreProcessor'}
# Other names for the same model, in Meta's fork of mmdet 2 and third-party forks of that.
RENAMED = {'CascadeMaskRCNN': 'CascadeRCNN'}
# The defaults of mmdet 2's HungarianAssigner; mmdet 3 takes a list of costs.
COSTS = {
    'cls_cost': dict(type='ClassificationCost', weight=1.0),
    'reg_cost': dict(type='BBoxL1Cost', weight=1.0),
    'iou_cost': dict(type='IoUCost', iou_mode='giou', weight=1.0),
}
SEGMENTORS = ('EncoderDecoder', 'CascadeEncoderDecoder')


def task_of(cfg: dict) -> str:
    """'mmseg' for a segmentor, 'mmdet' for everything else."""
    model = cfg.get('model') or {}
    return 'mmseg' if model.get('type') in SEGMENTORS or 'decode_head' in model else 'mmdet'


def renewed_model(cfg: dict, preprocessor: dict, task: str, notes: Notes) -> dict:
    """The model for mmdet 3 or mmseg 1, with its data preprocessor.

    Raises:
        RecipeError: a detector with a transformer, which mmdet 3 builds from other parts.
    """
    model = dict(cfg['model'])
    if any(key in node for _, node in dicts(model) for key in ('transformer', 'transformerlayers')):
        raise RecipeError(
            f'model.type={model["type"]!r}: mmdet 3 builds its transformers from other parts. '
            "Start from mmdet 3's own config for this model, such as _base_ = "
            "'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', and add the backbone, "
            'in_channels and optim_wrapper'
        )
    for key in ('train_cfg', 'test_cfg'):  # beside the model before mmdet 2.5
        if key in cfg:
            model[key] = cfg[key]
    if model.get('type') in RENAMED:
        notes.change(f'model.type {model["type"]!r} became {RENAMED[model["type"]]!r}')
        model['type'] = RENAMED[model['type']]
    for _, node in dicts(model):
        if node.get('type') == 'HungarianAssigner' and 'match_costs' not in node:
            node['match_costs'] = [node.pop(key, cost) for key, cost in COSTS.items()]
            notes.change(f'HungarianAssigner: {", ".join(COSTS)} became match_costs')
    if task == 'mmdet':
        model.pop('pretrained', None)
        for key in ('input_size', 'random_size_range', 'random_size_interval'):
            if key in model:
                notes.lose(
                    f'model.{key}={model.pop(key)!r}',
                    'random sizes are now set by batch_augments of the data preprocessor',
                )
    kind = model.pop('type')
    settings = dict(type=PREPROCESSOR[task], **preprocessor)
    return {'type': kind, 'data_preprocessor': settings, **model}
