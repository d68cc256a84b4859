# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Learning-rate constructors of other projects in the terms of ours, rate for rate."""

from __future__ import annotations

from ..recipe.errors import RecipeError
from .notes import Notes

OURS = 'mmconvnext.LayerDecayOptimWrapperConstructor'
# mmdet's and mmseg's, and the fork's they come from; mmseg's older name with ``layer_decay_rate``.
FIXED_RULES = ('LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor')
MMPRETRAIN = 'LearningRateDecayOptimWrapperConstructor'
READ_BY_FIXED = ('decay_rate', 'layer_decay_rate', 'decay_type', 'num_layers')
MULTS = ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult')
# mmpretrain's names of layers, and ours (Meta's), as keys of custom_keys may contain them.
LAYERS = {'depthwise_conv': 'dwconv', 'pointwise_conv': 'pwconv'}


def constructor_of(wrapper: dict) -> str:
    """'fixed', 'mmpretrain', 'default' or 'unknown': the kind of the wrapper's constructor."""
    name = str(wrapper.get('constructor') or 'DefaultOptimWrapperConstructor')
    if name.startswith('mmconvnext.'):
        return 'ours'
    name = name.rpartition('.')[2]
    if name in FIXED_RULES:
        return 'fixed'
    if name == MMPRETRAIN:
        return 'mmpretrain'
    return 'default' if name == 'DefaultOptimWrapperConstructor' else 'unknown'


def renew_constructor(cfg: dict, notes: Notes) -> None:
    """Replace the constructor of ``cfg['optim_wrapper']`` in place, so that all rates stay.

    Raises:
        RecipeError: layer-wise decay without a rate, or of a kind that ConvNeXt does not have.
    """
    wrapper = cfg.get('optim_wrapper')
    if not isinstance(wrapper, dict):
        notes.name('the config has no optim_wrapper: learning rates are for you to set')
        return
    kind = constructor_of(wrapper)
    options = dict(wrapper.get('paramwise_cfg') or {})
    if kind == 'fixed':
        wrapper['paramwise_cfg'] = _fixed(options, notes)
    elif kind == 'mmpretrain':
        wrapper['paramwise_cfg'] = _mmpretrain(options, notes)
    elif kind == 'default' and options.get('custom_keys'):
        wrapper['paramwise_cfg'] = {**options, 'custom_keys': _keys(options['custom_keys'], notes)}
    elif kind == 'unknown':
        notes.name(
            f'constructor={wrapper["constructor"]!r} is not one we know; it was left, and must '
            "know our parameter names, Meta's"
        )
    if kind in ('fixed', 'mmpretrain'):
        notes.change(f'optim_wrapper.constructor: {wrapper["constructor"]} is {OURS}')
        wrapper['constructor'] = OURS
    name_whole_backbone(wrapper, notes)


def _fixed(options: dict, notes: Notes) -> dict:
    """mmdet and mmseg read four options and no other, and decide on the decay themselves."""
    rate = options.get('decay_rate', options.get('layer_decay_rate'))
    if rate is None:
        raise RecipeError(
            'paramwise_cfg has no decay_rate, which its constructor needs: write '
            'paramwise_cfg=dict(decay_rate=...)'
        )
    decay_type = options.get('decay_type', 'layer_wise')
    if 'layer_wise' in decay_type:  # as there: 'layer_wise_vit' of BEiT configs too
        decay_type = 'layer_wise'
    if ignored := {k: v for k, v in options.items() if k not in READ_BY_FIXED}:
        notes.name(
            f'paramwise_cfg {ignored} was read by nobody there and is left out, so that the rates '
            'stay; add it to paramwise_cfg if you want it to act'
        )
    return dict(decay_rate=rate, decay_type=decay_type)


def _mmpretrain(options: dict, notes: Notes) -> dict:
    """mmpretrain decays what no option spares, and of custom_keys reads decay_mult alone."""
    options = dict(options)
    new = dict(decay_rate=options.pop('layer_decay_rate', 1.0))
    options.pop('num_layers', None)
    for key in MULTS:
        new[key] = options.pop(key, None)
    if idle := [key for key in MULTS if new[key] is None]:
        notes.name(
            f'{idle} are None as there: nothing spares those parameters weight decay; without '
            'these lines ours would, as the official recipes do'
        )
    if keys := options.pop('custom_keys', None):
        if inert := [key for key, value in keys.items() if 'lr_mult' in value]:
            notes.name(f'lr_mult of custom_keys {inert} was read by nobody there and is left out')
        new['custom_keys'] = {
            key: {'decay_mult': 1.0, **{k: v for k, v in value.items() if k != 'lr_mult'}}
            for key, value in _keys(keys, notes).items()
        }
    if options:
        notes.name(f'paramwise_cfg {options} was read by nobody there and is left out')
    return new


def _keys(keys: dict, notes: Notes) -> dict:
    """``custom_keys`` with our names of layers in them."""
    new = {}
    for key, value in keys.items():
        name = key
        for theirs, ours in LAYERS.items():
            name = name.replace(theirs, ours)
        if name != key:
            notes.change(f'custom_keys[{key!r}] is custom_keys[{name!r}], our name of the layer')
        new[name] = value
    return new


def name_whole_backbone(wrapper: dict, notes: Notes) -> None:
    """Name the keys of custom_keys that match a whole backbone: often they come from a base."""
    keys = (wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}
    for key, value in keys.items():
        if key.strip('.') == 'backbone' or key.strip('.').endswith('.backbone'):
            notes.name(
                f'custom_keys[{key!r}] = {value} acts on the whole backbone and is carried over; '
                f'without it: paramwise_cfg=dict(custom_keys=dict(_delete_=True))'
            )
