# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Sets how images are loaded whose values have more than 8 bits, or that have other channels."""

from __future__ import annotations

import copy

from mmengine.config import Config, ConfigDict

from ..errors import RecipeError
from ..walk import dicts, pipelines, unimported_name

OPTIONS = dict(bits=None, channels=None)  # of own_data, for every kind
IMAGE_LOADERS = ('LoadImageFromFile', 'LoadImage')
# Variables of mmseg's configs that mmseg reads besides the loaders: inference_model takes the
# second, and its test-time augmentation `data_preprocessor`.
PIPELINES = ('train_pipeline', 'test_pipeline')
UNTURNED = '_ignore_orientation'  # of a color_type: images are not turned by EXIF
PREPROCESSORS = ('DetDataPreprocessor', 'SegDataPreProcessor')
DISTORTION = 'PhotoMetricDistortion'  # mmseg's is for three channels of 8 bits
COLOR_TYPES = {1: 'grayscale', 3: 'color'}  # others are loaded 'unchanged'


def set_loading(cfg: Config | ConfigDict, options: dict, scope: str) -> None:
    """Let every pipeline, the preprocessor and the hook that draws use ``bits`` and ``channels``.

    Args:
        options: of own_data; nothing is changed where both are None.
        scope: the project of the recipe, 'mmdet' or 'mmseg'.

    Raises:
        RecipeError: one is no number, or out of range.
    """
    settings = {name: options[name] for name in OPTIONS if options[name] is not None}
    for name, low, high in (('bits', 8, 16), ('channels', 1, 1024)):
        value = settings.get(name, low)
        if type(value) is not int or not low <= value <= high:
            raise RecipeError(f'own_data.{name}={value!r}: choose a number from {low} to {high}')
    if not settings:
        return
    channels = settings.get('channels', 3)
    if 'channels' in settings:
        settings['color_type'] = COLOR_TYPES.get(channels, 'unchanged')
    listed = (node for key in PIPELINES for _, node in dicts(cfg.get(key)) if 'type' in node)
    for transform in (*pipelines(cfg), *listed):
        if unimported_name(transform) in IMAGE_LOADERS:
            unturned = transform.get('color_type', '').endswith(UNTURNED)
            transform.update(type='mmconvnext.LoadImage', **settings)
            if unturned and transform['color_type'] in COLOR_TYPES.values():
                transform['color_type'] += UNTURNED
        elif unimported_name(transform) == DISTORTION and (scope == 'mmseg' or channels != 3):
            transform['type'] = f'mmconvnext.{DISTORTION}'
    for _, node in dicts(cfg['model']):
        name = unimported_name(node)
        if channels not in COLOR_TYPES and name in PREPROCESSORS:
            node['type'] = f'mmconvnext.{name}'
    if 'data_preprocessor' in cfg and 'data_preprocessor' in cfg['model']:
        cfg['data_preprocessor'] = copy.deepcopy(cfg['model']['data_preprocessor'])
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook:
        hook['backend_args'] = dict(backend='mmconvnext.Picture', **settings)
