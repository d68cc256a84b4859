# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The model of an old config: as it is, but for what moved out of it or into it."""

from __future__ import annotations

from ...recipe.errors import RecipeError
from ...recipe.walk import dicts
from ..notes import Notes

PREPROCESSOR = {'mmdet': 'DetDataPreprocessor', 'mmseg': 'SegDataPreProcessor'}
# Other names of the same: Meta's fork of mmdet 2 and third-party forks of it.
RENAMED = {'CascadeMaskRCNN': 'CascadeRCNN'}
# Arguments that are gone without a change of what is computed.
SEGMENTORS = ('EncoderDecoder', 'CascadeEncoderDecoder')


def task_of(cfg: dict) -> str:
    """'mmseg' for a segmentor, 'mmdet' for the rest."""
    model = cfg.get('model') or {}
    return 'mmseg' if model.get('type') in SEGMENTORS or 'decode_head' in model else 'mmdet'


def renewed_model(cfg: dict, preprocessor: dict, task: str, notes: Notes) -> dict:
    """The model for mmdet 3 or mmseg 1, with its data preprocessor.

    Raises:
        RecipeError: a detector of the DETR family, which mmdet 3 puts together from other parts.
    """
    model = dict(cfg['model'])
    if any('transformer' in node for _, node in dicts(model) if isinstance(node, dict)):
        raise RecipeError(
            f'{model["type"]}: mmdet 3 builds the DETR family from other parts than a '
            "'transformer' in the head, so its config cannot be rewritten. Take mmdet 3's own as "
            "base, such as _base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', and write the "
            "backbone, the neck's in_channels and optim_wrapper into it"
        )
    for key in ('train_cfg', 'test_cfg'):  # beside the model before mmdet 2.5
        if key in cfg:
            model[key] = cfg[key]
    if model.get('type') in RENAMED:
        notes.change(f'model.type {model["type"]!r} is {RENAMED[model["type"]]!r}')
        model['type'] = RENAMED[model['type']]
    if task == 'mmdet':
        model.pop('pretrained', None)
        for key in ('input_size', 'random_size_range', 'random_size_interval'):
            if key in model:
                notes.lose(
                    f'model.{key}={model.pop(key)!r}',
                    'random sizes are batch_augments of the data preprocessor now',
                )
    kind = model.pop('type')
    settings = dict(type=PREPROCESSOR[task], **preprocessor)
    return {'type': kind, 'data_preprocessor': settings, **model}
