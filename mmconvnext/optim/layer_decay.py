# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Optimizer groups with a learning rate that decays with the depth of the layer."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real

import torch
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS
from .groups import format_table, merge

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
# Parameters of normalizing or scaling layers, by the last part of their name: GRN's gamma and beta
# are (1, 1, 1, C) in Meta's code, torchvision's layer_scale is (C, 1, 1).
SCALE_NAMES = ('gamma', 'beta', 'layer_scale', 'layer_scale_parameter')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning-rate decay on top of mmengine's parameter-wise options.

    A parameter in depth group d of n learns at ``lr * decay_rate ** (n - d - 1)``; all that is
    outside of the backbone learns at ``lr``, as do the output norms. The groups come from the
    backbone itself: from every outermost module that has ``get_layer_depth(name, prefix,
    decay_type)``, wherever it is nested and whatever it is called. Norms, biases, GRN, layer scale
    and other 1-D parameters get no weight decay (official code), unless an option says otherwise.
    Groups with equal settings are merged, so that fused and foreach optimizers have long lists to
    work on; frozen parameters are in none. Adam and AdamW are ``fused`` where torch can, unless
    the optimizer's own options say ``fused`` or ``foreach``: the same update in one pass.

    Source of the rule: ``mmcv_custom/layer_decay_optimizer_constructor.py`` of Meta's ConvNeXt.

    Args:
        optim_wrapper_cfg: type of the wrapper and ``optimizer``, as for mmengine's constructor.
        paramwise_cfg: ``decay_rate`` (required, above 0, up to 1); ``decay_type``, 'layer_wise'
            (default) or 'stage_wise'; ``head_lr_mult``, a factor for all that is outside of
            the backbones; ``num_layers``, only checked: the backbone knows it. Besides, every
            option of mmengine's constructor; a parameter that ``custom_keys`` matches learns at
            its ``lr_mult`` times the layer's rate, with its ``decay_mult`` instead of the rule
            above.

    Raises:
        ValueError: unknown options, a rate out of range, no backbone that knows its depths, or a
            ``num_layers`` that contradicts it.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        options = dict(paramwise_cfg or {})
        unknown = sorted(set(options) - set(OWN_KEYS) - set(MMENGINE_KEYS))
        if unknown:
            raise ValueError(
                f'paramwise_cfg has unknown keys {unknown}; the keys are '
                f'{[*OWN_KEYS, *MMENGINE_KEYS]}'
            )
        if 'decay_rate' not in options:
            raise ValueError("paramwise_cfg needs 'decay_rate', for example dict(decay_rate=0.8)")
        self.decay_rate = _factor('decay_rate', options.pop('decay_rate'), upper=1.0)
        self.decay_type = options.pop('decay_type', 'layer_wise')
        self.num_layers = options.pop('num_layers', None)
        self.head_lr_mult = _factor('head_lr_mult', options.pop('head_lr_mult', 1.0))
        # With these three mmengine itself spares biases, norms and 1-D parameters from decay, and
        # lets custom_keys go before.
        for key in ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult'):
            options.setdefault(key, 0.0)
        optimizer = dict(optim_wrapper_cfg.get('optimizer', {}))
        if optimizer.get('lr') is None:
            raise ValueError("the optimizer needs 'lr': layer-wise decay scales it")
        optimizer.setdefault('weight_decay', 0.0)
        super().__init__({**optim_wrapper_cfg, 'optimizer': optimizer}, options)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of ``model``, whose parameters are on their device by now."""
        options = self.optimizer_cfg
        if not {'fused', 'foreach'} & options.keys() and can_fuse(options['type'], model):
            self.optimizer_cfg = {**options, 'fused': True}
        return super().__call__(model)

    def add_params(self, params: list[dict], module: nn.Module, *args, **kwargs) -> None:
        """Append the merged groups of ``module`` to ``params``; log them as one table."""
        if args or kwargs:  # mmengine's own recursion into the children
            super().add_params(params, module, *args, **kwargs)
            return
        single: list[dict] = []
        with _without_a_line_per_parameter():
            super().add_params(single, module)
        names = {id(param): name for name, param in module.named_parameters()}
        depths, scales = self._depths_and_scales(module)
        rows = []
        for group in single:
            (param,) = group.pop('params')
            name = names[id(param)]
            group['lr'] = group.get('lr', self.base_lr) * scales[name]
            group.setdefault('weight_decay', self.base_wd)
            if param.ndim > 1 and self._is_scale(name):
                group['weight_decay'] = 0.0
            # mmengine leaves the factors of custom_keys in the group, where they would only
            # keep equal groups apart.
            settings = {k: v for k, v in group.items() if k not in ('lr_mult', 'decay_mult')}
            rows.append((param, depths[name], settings))
        groups = merge(rows, self.base_lr)
        params.extend(group.as_param_group() for group in groups)
        MMLogger.get_current_instance().info(
            'Learning rates: %s decay %g\n%s',
            self.decay_type,
            self.decay_rate,
            format_table(groups),
        )

    def _depths_and_scales(self, model: nn.Module) -> tuple[dict[str, int], dict[str, float]]:
        """Depth group and learning-rate factor of every parameter of the model."""
        depths, scales, head = {}, {}, 0
        for prefix, backbone in _backbones(model):
            for name, _ in backbone.named_parameters():
                depth, num_depths = self._ask(backbone, name)
                self._check_num_layers(backbone, num_depths - 2)
                depths[prefix + name] = depth
                scales[prefix + name] = self.decay_rate ** (num_depths - depth - 1)
                head = max(head, num_depths - 1)
        for name, _ in model.named_parameters():
            depths.setdefault(name, head)
            scales.setdefault(name, self.head_lr_mult)
        return depths, scales

    def _ask(self, backbone: nn.Module, name: str) -> tuple[int, int]:
        if 'decay_type' in inspect.signature(backbone.get_layer_depth).parameters:
            return backbone.get_layer_depth(name, decay_type=self.decay_type)
        if self.decay_type != 'layer_wise':  # mmpretrain's backbones know only this one
            raise ValueError(
                f"{type(backbone).__name__} only knows decay_type='layer_wise', "
                f'got {self.decay_type!r}'
            )
        return backbone.get_layer_depth(name)

    def _check_num_layers(self, backbone: nn.Module, expected: int) -> None:
        if self.num_layers is not None and self.num_layers != expected:
            depths = getattr(getattr(backbone, 'arch', None), 'depths', ())
            raise ValueError(
                f'num_layers={self.num_layers!r}, but {type(backbone).__name__}'
                + (f' with depths {list(depths)}' if depths else '')
                + f' needs {expected}; correct it or, better, leave it out'
            )

    def _is_scale(self, name: str) -> bool:
        """GRN or layer scale, for shapes that mmengine's rules miss, unless custom_keys has it."""
        custom_keys = self.paramwise_cfg.get('custom_keys', {})
        return name.rpartition('.')[2] in SCALE_NAMES and not any(k in name for k in custom_keys)


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


def _backbones(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """(prefix, module) of the outermost modules that know the depth of their parameters."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        prefix = f'{name}.' if name else ''
        if hasattr(module, 'get_layer_depth') and not any(prefix.startswith(p) for p, _ in found):
            found.append((prefix, module))
    if not found:
        kinds = sorted({type(child).__name__ for child in model.children()})
        raise ValueError(
            f'layer-wise decay found no module with get_layer_depth() in {type(model).__name__} '
            f"made of {kinds}; take the backbone type='mmconvnext.ConvNeXt', or the default "
            'constructor without decay_rate'
        )
    return found


def _factor(name: str, value: object, upper: float = float('inf')) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= upper:
        allowed = 'positive' if upper == float('inf') else f'above 0 and at most {upper:g}'
        raise ValueError(f'paramwise_cfg {name} must be {allowed}, got {value!r}')
    return float(value)


@contextmanager
def _without_a_line_per_parameter() -> Iterator[None]:
    """Hold back mmengine's 'paramwise_options' and 'is skipped' line for each parameter.

    ``bypass_duplicate``'s warnings pass.
    """

    def wanted(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not (message.startswith('paramwise_options') or 'requires_grad=False' in message)

    logger = MMLogger.get_current_instance()
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)
