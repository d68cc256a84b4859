# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Learning rate and weight decay of every parameter, under the constructor of each side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from importlib import import_module

from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from .optimizer import constructor_of

Rates = dict  # name of a parameter: (learning rate, weight decay)


def rates_of(model: nn.Module, wrapper: Mapping, scope: str) -> Rates:
    """The rates that the constructor of ``wrapper`` gives to the parameters of ``model``.

    mmpretrain's is reimplemented here, because it cannot be built for a detector or segmentor.
    """
    if constructor_of(dict(wrapper)) == 'mmpretrain':
        return _restated(model, wrapper)
    cfg = dict(
        type='mmengine.OptimWrapper',
        # Not fused: the model may be on the meta device.
        optimizer={**wrapper['optimizer'], 'foreach': False},
        paramwise_cfg=dict(wrapper.get('paramwise_cfg') or {}),
    )
    if wrapper['optimizer'].get('type') not in ('SGD', 'Adam', 'AdamW'):
        cfg['optimizer'].pop('foreach')
    if constructor := wrapper.get('constructor'):
        kind = constructor_of(dict(wrapper)) == 'fixed' and '.' not in constructor
        home = scope if scope in ('mmdet', 'mmseg') else 'mmdet'
        cfg['constructor'] = f'{home}.{constructor}' if kind else constructor
        if kind:
            import_module(f'{home}.engine.optimizers')
    with OPTIM_WRAPPER_CONSTRUCTORS.switch_scope_and_registry(scope):
        optimizer = build_optim_wrapper(model, cfg).optimizer
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for param in group['params']
    }


def _restated(model: nn.Module, wrapper: Mapping) -> Rates:
    """The rules of mmpretrain 1.2's ``LearningRateDecayOptimWrapperConstructor``, for our names."""
    options = wrapper.get('paramwise_cfg') or {}
    lr, base = wrapper['optimizer']['lr'], wrapper['optimizer'].get('weight_decay', 0.0)
    keys = sorted(sorted(options.get('custom_keys') or {}), key=len, reverse=True)
    found = {}
    for place, module in model.named_modules():
        norm = isinstance(module, (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm))
        for own, param in module.named_parameters(recurse=False):
            if not param.requires_grad:
                continue
            name = f'{place}.{own}' if place else own
            key = next((key for key in keys if key in name), None)
            if key is not None:
                mult = options['custom_keys'][key].get('decay_mult', 1.0)
            else:
                # mmpretrain's GRN has 1-D parameters; under Meta's names they are (1, 1, 1, C).
                flat = param.ndim == 1 or '.grn.' in name
                concerns = {
                    'norm_decay_mult': norm,
                    'bias_decay_mult': own == 'bias',
                    'flat_decay_mult': flat,
                }
                mults = [options.get(k) for k, concerned in concerns.items() if concerned]
                mult = next((m for m in mults if m is not None), 1.0)
            scale = options.get('layer_decay_rate', 1.0) ** _distance(model, name)
            found[name] = (lr * scale, base * mult)
    return found


def _distance(model: nn.Module, name: str) -> int:
    """The number of layers below the head, by the rules of mmpretrain's ConvNeXt."""
    for place, module in model.named_modules():
        if type(module).__name__ == 'ConvNeXt' and name.startswith(f'{place}.' if place else ''):
            last = 12 if module.arch.depths[-2] > 9 else 6
            kind, *parts = name[len(place) + 1 if place else 0 :].split('.')
            if kind == 'downsample_layers':
                return last + 1 - {'0': 0, '1': 2, '2': 3}.get(parts[0], last)
            if kind == 'stages':
                third = 3 + int(parts[1]) // 3
                return last + 1 - {'0': 1, '1': 2, '2': third}.get(parts[0], last)
    return 0


def compare(theirs: Rates, ours: Rates) -> list[str]:
    """One line for each group of parameters whose rates differ in the same way."""
    groups = defaultdict(list)
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        sides = theirs.get(name), ours.get(name)
        if told := _difference(*sides):
            groups[told].append(name)
    return [f'{_named(names)}: {told}' for told, names in groups.items()]


def _difference(one: tuple | None, two: tuple | None) -> str:
    if one is None or two is None:
        return 'only trained by the new config' if one is None else 'only trained by the old config'
    parts = [
        f'{what} {before:.4g} before, {after:.4g} now'
        for what, before, after in zip(('learning rate', 'weight decay'), one, two)
        if not _close(before, after)
    ]
    return '; '.join(parts)


def _close(one: float, two: float) -> bool:
    return abs(one - two) <= 1e-9 * max(abs(one), abs(two))  # rounding of powers, our choice


def _named(names: list[str]) -> str:
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')
