# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Factors for learning rate and weight decay, from mmengine's parameter-wise options.

The options work as in ``DefaultOptimWrapperConstructor.add_params`` of mmengine 0.10.7, with three
differences: whether a parameter is 1-D is decided by its whole shape, not its shard's; an entry of
``custom_keys`` replaces only the factors it gives; and norms, biases and scales have no weight
decay unless an option says so, as in the official code.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from numbers import Real

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from .walk import Place

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
# torch's layers whose weights have more than one dimension, even if a shard of them has only one.
MATRICES = (
    nn.Linear,
    nn.Bilinear,
    _ConvNd,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.RNNCellBase,
)
# Parameters of a backbone's normalizing or scaling layers, whatever their shape: GRN's gamma and
# beta are (1, 1, 1, C) in Meta's code, torchvision's layer_scale is (C, 1, 1).
SCALES = ('gamma', 'beta', 'layer_scale', 'layer_scale_parameter')
FACTORS = ('lr_mult', 'decay_mult')
# Weight-decay options, in mmengine's order of precedence.
DECAY_OPTIONS = ('norm_decay_mult', 'bias_decay_mult', 'dwconv_decay_mult', 'flat_decay_mult')
# The official rule, expressed with these options.
OFFICIAL_DECAY = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0)
NEAR = 0.7  # our choice: lr_multiplier and wd_mult are near lr_mult; lr, eps, weight_decay are not


def check_options(options: Mapping, weight_decay: float | None) -> None:
    """Check options that mmengine would accept silently, with no effect or the wrong one.

    Raises:
        ValueError: a factor that is not a finite number >= 0; in ``custom_keys``, an entry that is
            not a dict, a misspelt ``lr_mult`` or ``decay_mult``, ``params``, or a ``_delete_``
            with nothing to delete; a weight-decay factor for an optimizer without
            ``weight_decay``.
    """
    for name, value in options.items():
        if name.endswith('_mult') and value is not None:
            _check_factor(name, value)
    custom_keys = options.get('custom_keys') or {}
    if not isinstance(custom_keys, Mapping) or not all(isinstance(k, str) for k in custom_keys):
        raise ValueError(
            'paramwise_cfg custom_keys must be a dict whose keys are parts of parameter names, for '
            f'example dict(neck=dict(lr_mult=0.1)), got {custom_keys!r}'
        )
    for key, settings in custom_keys.items():
        where = f'custom_keys[{key!r}]'
        if not isinstance(settings, Mapping):
            raise ValueError(
                f'paramwise_cfg {where} must be a dict such as dict(lr_mult=0.1), got {settings!r}'
            )
        for name, value in settings.items():
            if name in FACTORS:
                _check_factor(f'{where} {name}', value)
            else:
                _check_setting(where, name)
    decays = [name for name in DECAY_OPTIONS if name in options]
    decays += [f'custom_keys[{k!r}]' for k in custom_keys if 'decay_mult' in custom_keys[k]]
    if decays and weight_decay is None:
        raise ValueError(
            f'paramwise_cfg scales the weight decay in {decays}, but the optimizer has none; '
            'set it, for example optimizer=dict(..., weight_decay=0.05)'
        )


def _check_factor(where: str, value: object) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise ValueError(f'paramwise_cfg {where} must be a finite number >= 0, got {value!r}')


def _check_setting(where: str, name: object) -> None:
    """Check one key of an entry; any name may be an option of the optimizer."""
    plain = str(name).casefold().strip().replace('-', '_')
    if near := difflib.get_close_matches(plain, FACTORS, 1, NEAR):
        raise ValueError(
            f'paramwise_cfg {where} has the key {name!r}, which no optimizer reads; did you mean '
            f'{near[0]!r}? The factors are {list(FACTORS)}'
        )
    if name == '_delete_':
        raise ValueError(
            f'paramwise_cfg {where} has the key {name!r}, but no base config has this entry; '
            'leave it out'
        )
    if plain == 'params' or not isinstance(name, str):
        raise ValueError(
            f'paramwise_cfg {where} has the key {name!r}; it may have {list(FACTORS)} and options '
            'of the optimizer, but not the parameters themselves'
        )


def rate_factor(place: Place, options: Mapping) -> float:
    """Factor of the learning rate: ``bias_lr_mult`` and ``dcn_offset_lr_mult``."""
    in_dcn = _is_dcn(place.parent)
    factor = None
    if place.own == 'bias' and not (in_dcn or isinstance(place.module, NORMS)):
        factor = options.get('bias_lr_mult')
    if in_dcn and isinstance(place.module, nn.Conv2d) and 'conv_offset' in place.name:
        factor = options.get('dcn_offset_lr_mult', factor)
    return 1.0 if factor is None else factor


def decay_factor(place: Place, options: Mapping, shape: torch.Size) -> float:
    """Factor of the weight decay of a parameter with this unsharded shape.

    Without weight-decay options it is 0 for biases and 1-D parameters, the rule of mmdet's and
    mmseg's ``LearningRateDecayOptimizerConstructor``, and for a backbone's norms and scales of any
    shape. With options, the first of ``DECAY_OPTIONS`` that applies and is not None.
    """
    module, in_dcn = place.module, _is_dcn(place.parent)
    norm, bias = isinstance(module, NORMS), place.own == 'bias'
    flat = is_flat(module, place.own, shape)
    scale = place.backbone is not None and place.own in SCALES
    if options.keys().isdisjoint(DECAY_OPTIONS):
        spared = bias or flat or scale or (norm and place.backbone is not None)
        return 0.0 if spared else 1.0
    concerned = {
        'norm_decay_mult': norm,
        'bias_decay_mult': bias and not in_dcn,
        'dwconv_decay_mult': isinstance(module, nn.Conv2d) and module.in_channels == module.groups,
        'flat_decay_mult': scale or (flat and not in_dcn),
    }
    options = {**OFFICIAL_DECAY, **options}
    factors = (options.get(name) for name in DECAY_OPTIONS if concerned[name])
    return next((factor for factor in factors if factor is not None), 1.0)


def is_flat(module: nn.Module, name: str, shape: torch.Size) -> bool:
    """Whether a parameter of ``module`` is 1-D before sharding.

    A shard may be 1-D although its parameter is not, so the name decides for common layers.
    """
    weight = name.startswith('weight') or name.endswith('proj_weight')
    return len(shape) == 1 and not (weight and (isinstance(module, MATRICES) or _is_dcn(module)))


def custom_key(name: str, custom_keys: Iterable[str]) -> str | None:
    """The longest key that a parameter's name contains, or None.

    Among keys of equal length the first in alphabetical order wins, as in mmengine.
    """
    matching = [key for key in custom_keys if key in name]
    return min(matching, key=lambda key: (-len(key), key), default=None)


def _is_dcn(module: nn.Module | None) -> bool:
    """Whether it is a deformable convolution of mmcv; by name, as mmcv may not be installed."""
    kinds = ('DeformConv2d', 'ModulatedDeformConv2d')
    return any(
        kind.__name__ in kinds and kind.__module__.startswith('mmcv.')
        for kind in type(module).__mro__
    )
