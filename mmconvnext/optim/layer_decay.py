# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Optimizer groups with a learning rate that decays with the depth of the layer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from numbers import Real

import torch
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS
from .custom_keys import whole_backbones
from .groups import Group, format_table, merge
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

    A parameter in depth group d of n has the learning rate ``lr * decay_rate ** (n - d - 1)``;
    output norms and everything outside the backbone have ``lr``. The backbone defines the groups:
    every outermost module with a method ``get_layer_depth(name, prefix, decay_type)`` counts as a
    backbone, whatever its place, name or wrapper. A shard (FSDP, ZeRO) gets the settings of its
    whole parameter.

    In the backbone, norms, biases, GRN, layer scale and other 1-D parameters have no weight decay
    (official code) unless an option says otherwise. Outside it, biases and 1-D parameters have
    none, as with mmdet's and mmseg's ``LearningRateDecayOptimizerConstructor``. If one of the
    weight-decay options is given, all of them have mmengine's meaning, and those for norms, biases
    and 1-D parameters default to 0.

    Groups with equal settings are merged, because fused and foreach optimizers are faster on long
    lists; frozen parameters are left out. Which group holds what depends on the model and the
    options, so hooks must not rely on positions (``param_groups[2]`` for the biases, say). Adam and
    AdamW run ``fused`` if torch supports it and the optimizer sets neither ``fused`` nor
    ``foreach``: the same update in one pass.

    Source of the rule: ``mmcv_custom/layer_decay_optimizer_constructor.py`` of Meta's ConvNeXt.

    Args:
        optim_wrapper_cfg: type of the wrapper and ``optimizer``, as for mmengine's constructor.
            Without ``weight_decay``, decayed parameters get the optimizer's default.
        paramwise_cfg: ``decay_rate`` (required, above 0, up to 1); ``decay_type``, 'layer_wise'
            (default), 'stage_wise', 'single' (ConvNeXt-V2's) or 'timm', see
            :mod:`mmconvnext.models.layer_depth`; ``head_lr_mult``, a factor for everything outside
            the backbones; ``num_layers``, optional, only checked against the backbone; and every
            option of mmengine's constructor. In ``custom_keys``, ``lr_mult`` multiplies the layer's
            rate and ``decay_mult`` the weight decay; without them the rules above apply.
            The longest matching key wins. Keys that change a whole backbone, which a base config
            may have set, are named below the table in the log.

    Raises:
        ValueError: several optimizers, unknown options, a rate or a factor out of range, a
            weight-decay factor without a weight decay, no backbone with ``get_layer_depth``, a
            wrong ``num_layers``, a parameter shared by two modules without ``bypass_duplicate``,
            or parameters that FSDP flattened into one (``use_orig_params=False``).
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if 'optimizer' not in optim_wrapper_cfg:
            raise ValueError(
                f"optim_wrapper has no 'optimizer', only {sorted(optim_wrapper_cfg)}; this "
                'constructor builds one optimizer. For several, write a constructor that calls it '
                'for each and returns an OptimWrapperDict'
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
        """Build the optimizer wrapper of ``model``, whose parameters must be on their device."""
        options = self.optimizer_cfg
        kind = options.get('optimizer_type', options['type'])  # mmengine's ZeroRedundancyOptimizer
        if not {'fused', 'foreach'} & options.keys() and can_fuse(kind, model):
            self.optimizer_cfg = {**options, 'fused': True}
        # mmengine would unwrap an attribute `module`, and so lose FSDP, which has the shapes.
        return super().__call__(shell(model))

    def add_params(self, params: list[dict], module: nn.Module) -> None:
        """Append the merged groups of ``module`` to ``params``; log them as one table."""
        shapes = whole_shapes(module)
        places, groups = self.groups(module, shapes)
        params.extend(group.as_param_group() for group in groups)
        keys = self.paramwise_cfg.get('custom_keys', {})
        lines = [
            f'Learning rates: {self.decay_type} decay {self.decay_rate:g}',
            format_table(groups, shapes),
            *whole_backbones(places, keys, shapes),
        ]
        MMLogger.get_current_instance().info('\n'.join(lines))

    def groups(
        self, module: nn.Module, shapes: Mapping[int, torch.Size]
    ) -> tuple[list[Place], list[Group]]:
        """The places of the trained parameters of ``module``, and their merged groups.

        ``shapes``: by ``id``, the unsharded shapes of sharded parameters.
        """
        places = _without_flattened(walk(module))
        if all(place.backbone is None for place in places):
            raise _no_backbone(unwrap(module))
        self._warn_of_idle_keys(places)
        chosen = self._trained_once(places, self._depths(places))
        rows = []
        for place, (depth, scale) in chosen:
            shape = shapes.get(id(place.param), place.param.shape)
            rows.append((place.param, depth, self._settings(place, scale, shape)))
        return [place for place, _ in chosen], merge(rows, self.base_lr)

    def _settings(self, place: Place, scale: float, shape: torch.Size) -> dict:
        """Optimizer settings of a parameter; ``scale`` is the rate's factor for its depth."""
        keys = self.paramwise_cfg.get('custom_keys', {})
        custom = dict(keys.get(custom_key(place.name, keys), {}))
        lr_mult = custom.pop('lr_mult', rate_factor(place, self.paramwise_cfg))
        decay_mult = custom.pop('decay_mult', decay_factor(place, self.paramwise_cfg, shape))
        settings = {'lr': self.base_lr * lr_mult * scale}
        if self.base_wd is not None:
            settings['weight_decay'] = self.base_wd * decay_mult
        elif not decay_mult:  # the optimizer's default applies to all others
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
                'some parameters appear in more than one module and would be updated several '
                f'times: {_some(duplicates)}; set bypass_duplicate=True in paramwise_cfg to update '
                'each once, with the settings of its first occurrence'
            )
        if duplicates:
            MMLogger.get_current_instance().warning(
                f'bypass_duplicate=True: {len(duplicates)} shared parameters get the settings of '
                f'their first occurrence: {_some(duplicates)}'
            )
        return list(first.values())

    def _warn_of_idle_keys(self, places: list[Place]) -> None:
        keys = self.paramwise_cfg.get('custom_keys', {})
        idle = [key for key in keys if not any(key in place.name for place in places)]
        if idle:
            MMLogger.get_current_instance().warning(
                f'custom_keys {idle} have no effect: no parameter name contains them (names are '
                'those of the unwrapped model)'
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
        """Depth group of a backbone's parameter, and the number of groups of the backbone."""
        backbone = place.backbone
        if 'decay_type' in inspect.signature(backbone.get_layer_depth).parameters:
            answer = backbone.get_layer_depth(place.inner, decay_type=self.decay_type)
        elif self.decay_type == 'layer_wise':  # the only rule of mmpretrain's backbones
            answer = backbone.get_layer_depth(place.inner)
        else:
            raise ValueError(
                f"{type(backbone).__name__} only supports decay_type='layer_wise', "
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
    """Whether torch has a fused version of this optimizer for ``model``'s devices and dtypes."""
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
    """The places without those of flattened FSDP parameters, which must be frozen."""
    kept = []
    for place in places:
        if place.own != FLAT:
            kept.append(place)
        elif place.param.requires_grad:
            raise ValueError(
                f'FSDP flattened several parameters into {place.name}, but each needs its own '
                'learning rate and weight decay; wrap the model with '
                'FullyShardedDataParallel(..., use_orig_params=True)'
            )
    return kept


def _no_backbone(model: nn.Module) -> ValueError:
    kinds = sorted({type(child).__name__ for child in model.children()})
    return ValueError(
        f'layer-wise decay needs a module with get_layer_depth(), but {type(model).__name__}, '
        f"made of {kinds}, has none; use the backbone type='mmconvnext.ConvNeXt', or the default "
        'constructor without decay_rate'
    )


def _some(texts: list[str], at_most: int = 3) -> str:
    """The first texts, and how many more there are."""
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
