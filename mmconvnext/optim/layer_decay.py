# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Optimizer groups with a learning rate that decays with the depth of the layer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from numbers import Real

import torch
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS
from .custom_keys import whole_backbones
from .groups import format_table, merge
from .rules import check_options, custom_key, decay_factor, rate_factor
from .spellings import refuse_old_options
from .walk import FLAT, Place, shell, unwrap, walk, whole_shapes

OWN_KEYS = ('decay_rate', 'decay_type', 'num_layers', 'head_lr_mult')
# The options of mmengine's default constructor (class docstring of 0.10.7).
MMENGINE_KEYS = (
    'custom_keys',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'flat_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning-rate decay on top of mmengine's parameter-wise options.

    A parameter in depth group d of n learns at ``lr * decay_rate ** (n - d - 1)``; all that is
    outside of the backbone learns at ``lr``, as do the output norms. The groups come from the
    backbone itself: from every outermost module that has ``get_layer_depth(name, prefix,
    decay_type)``, wherever it is nested, whatever it is called and wrapped in. A shard of FSDP or
    ZeRO gets what the whole parameter would get.

    Norms, biases, GRN, layer scale and other 1-D parameters of a backbone get no weight decay
    (official code), unless an option says otherwise. Outside of it biases and 1-D parameters get
    none, as with mmdet's and mmseg's ``LearningRateDecayOptimizerConstructor``. Once an option of
    the decay is given, all of them have mmengine's meaning there; those of norms, biases and 1-D
    parameters are 0 where they are not given.

    Groups with equal settings are merged, so that fused and foreach optimizers have long lists to
    work on; frozen parameters are in none. What a group holds depends on model and options, so
    hooks must not count them, as those do that take ``param_groups[2]`` for the biases. Adam and
    AdamW are ``fused`` where torch can, unless the optimizer's own options say ``fused`` or
    ``foreach``: the same update in one pass.

    Source of the rule: ``mmcv_custom/layer_decay_optimizer_constructor.py`` of Meta's ConvNeXt.

    Args:
        optim_wrapper_cfg: type of the wrapper and ``optimizer``, as for mmengine's constructor.
            Without ``weight_decay`` what decays by the rule has the optimizer's default.
        paramwise_cfg: ``decay_rate`` (required, above 0, up to 1); ``decay_type``, 'layer_wise'
            (default), 'stage_wise', 'single' (ConvNeXt-V2's) or 'timm', see
            :mod:`mmconvnext.models.layer_depth`; ``head_lr_mult``, a factor for all that is outside
            of the backbones; ``num_layers``, only checked: the backbone knows it. Besides, every
            option of mmengine's constructor. In ``custom_keys``, ``lr_mult`` is a factor of the
            layer's rate and ``decay_mult`` one of the weight decay; where one of them is left out,
            the rule above stays in force. The longest key that matches is the one. Keys that change
            a whole backbone, as those of a base config may, are named below the table.

    Raises:
        ValueError: a config of several optimizers, unknown options, a rate or a factor out of
            range, a factor of a weight decay that the optimizer lacks, no backbone that knows its
            depths, a ``num_layers`` that contradicts it, a parameter that stands in two modules
            without ``bypass_duplicate``, or several that FSDP made one with
            ``use_orig_params=False``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if 'optimizer' not in optim_wrapper_cfg:
            raise ValueError(
                f"optim_wrapper has no 'optimizer' but the keys {sorted(optim_wrapper_cfg)}; this "
                'constructor makes one optimizer, a constructor of OptimWrapperDict may call it '
                'for each of several'
            )
        options = dict(paramwise_cfg or {})
        refuse_old_options(options)
        unknown = sorted(set(options) - set(OWN_KEYS) - set(MMENGINE_KEYS))
        if unknown:
            raise ValueError(
                f'paramwise_cfg has unknown keys {unknown}; the keys are '
                f'{[*OWN_KEYS, *MMENGINE_KEYS]}'
            )
        if 'decay_rate' not in options:
            raise ValueError("paramwise_cfg needs 'decay_rate', for example dict(decay_rate=0.8)")
        self.decay_rate = _factor('decay_rate', options['decay_rate'], upper=1.0)
        self.decay_type = options.get('decay_type', 'layer_wise')
        self.num_layers = options.get('num_layers')
        self.head_lr_mult = _factor('head_lr_mult', options.get('head_lr_mult', 1.0))
        optimizer = optim_wrapper_cfg['optimizer']
        check_options(options, optimizer.get('weight_decay'))
        if optimizer.get('lr') is None:
            raise ValueError("the optimizer needs 'lr': layer-wise decay scales it")
        super().__init__(optim_wrapper_cfg, options)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of ``model``, whose parameters are on their device by now."""
        options = self.optimizer_cfg
        if not {'fused', 'foreach'} & options.keys() and can_fuse(options['type'], model):
            self.optimizer_cfg = {**options, 'fused': True}
        # mmengine steps into any attribute `module`, beyond what FSDP knows of the shapes.
        return super().__call__(shell(model))

    def add_params(self, params: list[dict], module: nn.Module) -> None:
        """Append the merged groups of ``module`` to ``params``; log them as one table."""
        places = _without_flattened(walk(module))
        if all(place.backbone is None for place in places):
            raise _no_backbone(unwrap(module))
        self._warn_of_idle_keys(places)
        shapes = whole_shapes(module)
        chosen = self._trained_once(places, self._depths(places))
        rows = []
        for place, (depth, scale) in chosen:
            shape = shapes.get(id(place.param), place.param.shape)
            rows.append((place.param, depth, self._settings(place, scale, shape)))
        groups = merge(rows, self.base_lr)
        params.extend(group.as_param_group() for group in groups)
        keys = self.paramwise_cfg.get('custom_keys', {})
        lines = [
            f'Learning rates: {self.decay_type} decay {self.decay_rate:g}',
            format_table(groups, shapes),
            *whole_backbones([place for place, _ in chosen], keys, shapes),
        ]
        MMLogger.get_current_instance().info('\n'.join(lines))

    def _settings(self, place: Place, scale: float, shape: torch.Size) -> dict:
        """Optimizer settings of a parameter, whose depth multiplies the rate by ``scale``."""
        keys = self.paramwise_cfg.get('custom_keys', {})
        custom = dict(keys.get(custom_key(place.name, keys), {}))
        lr_mult = custom.pop('lr_mult', rate_factor(place, self.paramwise_cfg))
        decay_mult = custom.pop('decay_mult', decay_factor(place, self.paramwise_cfg, shape))
        settings = {'lr': self.base_lr * lr_mult * scale}
        if self.base_wd is not None:
            settings['weight_decay'] = self.base_wd * decay_mult
        elif not decay_mult:  # all others have the optimizer's default
            settings['weight_decay'] = 0.0
        return {**settings, **custom}

    def _trained_once(self, places: list[Place], depths: list) -> list[tuple[Place, tuple]]:
        """The places of trainable parameters with their depths, without duplicates."""
        first: dict[int, tuple[Place, tuple]] = {}
        duplicates = []
        for place, depth in zip(places, depths):
            if not place.param.requires_grad:
                continue
            kept, _ = first.setdefault(id(place.param), (place, depth))
            if kept is not place:
                duplicates.append(f'{place.name} is {kept.name}')
        if duplicates and not self.paramwise_cfg.get('bypass_duplicate', False):
            raise ValueError(
                'some parameters appear in more than one module and would be updated as often: '
                f'{_some(duplicates)}; set bypass_duplicate=True in paramwise_cfg to update each '
                'once, with the settings of its first place'
            )
        if duplicates:
            MMLogger.get_current_instance().warning(
                f'bypass_duplicate=True: {len(duplicates)} duplicate parameters have the settings '
                f'of their first place: {_some(duplicates)}'
            )
        return list(first.values())

    def _warn_of_idle_keys(self, places: list[Place]) -> None:
        keys = self.paramwise_cfg.get('custom_keys', {})
        idle = [key for key in keys if not any(key in place.name for place in places)]
        if idle:
            MMLogger.get_current_instance().warning(
                f'custom_keys {idle} have no effect: no parameter has them in its name (names are '
                'those of the model without wrappers)'
            )

    def _depths(self, places: list[Place]) -> list[tuple[int, float]]:
        """Depth group and learning-rate factor of every place."""
        asked = [None if place.backbone is None else self._ask(place) for place in places]
        head = max(num_depths - 1 for _, num_depths in filter(None, asked))
        depths = []
        for answer in asked:
            if answer is None:
                depths.append((head, self.head_lr_mult))
            else:
                depth, num_depths = answer
                depths.append((depth, self.decay_rate ** (num_depths - depth - 1)))
        return depths

    def _ask(self, place: Place) -> tuple[int, int]:
        """Depth group of a parameter of a backbone, and the number of its groups."""
        backbone = place.backbone
        if 'decay_type' in inspect.signature(backbone.get_layer_depth).parameters:
            answer = backbone.get_layer_depth(place.inner, decay_type=self.decay_type)
        elif self.decay_type == 'layer_wise':  # mmpretrain's backbones know only this one
            answer = backbone.get_layer_depth(place.inner)
        else:
            raise ValueError(
                f"{type(backbone).__name__} only knows decay_type='layer_wise', "
                f'got {self.decay_type!r}'
            )
        self._check_num_layers(backbone, answer[1] - 2)
        return answer

    def _check_num_layers(self, backbone: nn.Module, expected: int) -> None:
        if self.num_layers is not None and self.num_layers != expected:
            depths = getattr(getattr(backbone, 'arch', None), 'depths', ())
            raise ValueError(
                f'num_layers={self.num_layers!r}, but {type(backbone).__name__}'
                + (f' with depths {list(depths)}' if depths else '')
                + f' needs {expected}; correct it or, better, leave it out'
            )


def can_fuse(optimizer: str | type, model: nn.Module) -> bool:
    """Whether torch has a fused step of this optimizer for the devices and types of ``model``."""
    kind = getattr(torch.optim, optimizer, None) if isinstance(optimizer, str) else optimizer
    if kind not in (torch.optim.Adam, torch.optim.AdamW):
        return False
    kinds = {(p.device, p.dtype) for p in model.parameters() if p.requires_grad}
    try:
        for device, dtype in kinds:
            kind([torch.zeros(1, device=device, dtype=dtype)], fused=True)
    except RuntimeError:  # as torch before 2.4 does on a CPU
        return False
    return True


def _without_flattened(places: Iterable[Place]) -> list[Place]:
    """The places but those of parameters that FSDP made of several, which have to be frozen."""
    kept = []
    for place in places:
        if place.own != FLAT:
            kept.append(place)
        elif place.param.requires_grad:
            raise ValueError(
                f'{place.name} is made of several parameters, whose learning rates and weight '
                'decays differ: wrap the model with FullyShardedDataParallel(..., '
                'use_orig_params=True)'
            )
    return kept


def _no_backbone(model: nn.Module) -> ValueError:
    kinds = sorted({type(child).__name__ for child in model.children()})
    return ValueError(
        f'layer-wise decay found no module with get_layer_depth() in {type(model).__name__} '
        f"made of {kinds}; take the backbone type='mmconvnext.ConvNeXt', or the default "
        'constructor without decay_rate'
    )


def _some(texts: list[str], at_most: int = 3) -> str:
    """The first of them, and how many more there are."""
    rest = len(texts) - at_most
    return ', '.join(texts[:at_most]) + (f' and {rest} more' if rest > 0 else '')


def _factor(name: str, value: object, upper: float = float('inf')) -> float:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 < value <= upper:
        allowed = (
            'positive and finite' if upper == float('inf') else f'above 0 and at most {upper:g}'
        )
        raise ValueError(f'paramwise_cfg {name} must be {allowed}, got {value!r}')
    return float(value)
