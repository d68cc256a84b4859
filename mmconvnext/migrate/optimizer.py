# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Learning-rate constructors of other projects in the terms of ours, rate for rate."""

from __future__ import annotations

from collections.abc import Sequence

from ..models.layer_depth import num_layers
from ..recipe.errors import RecipeError
from .notes import Notes

OURS = 'mmconvnext.LayerDecayOptimWrapperConstructor'
# mmdet's and mmseg's, and the fork's they come from; mmseg's older name with ``layer_decay_rate``.
FIXED_RULES = ('LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor')
MMPRETRAIN = 'LearningRateDecayOptimWrapperConstructor'
READ_BY_FIXED = ('decay_rate', 'layer_decay_rate', 'decay_type', 'num_layers')
KNOWN_TO_FIXED = (*READ_BY_FIXED, 'bypass_duplicate')  # of each parameter one group, always
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


def renew_constructor(cfg: dict, depths: Sequence[int], shared: bool, notes: Notes) -> None:
    """Replace the constructor of ``cfg['optim_wrapper']`` in place, so that all rates stay.

    ``depths`` are the blocks of the backbone's stages: they are the number of its groups here,
    which ``num_layers`` is there. ``shared`` says that parameters stand in several modules: there
    each was in one group anyway.

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
        _check_num_layers(options.get('num_layers'), depths, notes)
        wrapper['paramwise_cfg'] = _fixed(options, notes)
    elif kind == 'mmpretrain':
        wrapper['paramwise_cfg'] = _mmpretrain(options, notes)
    elif kind == 'default' and options:
        wrapper['paramwise_cfg'] = _default(options, notes)
    elif kind == 'unknown':
        notes.name(
            f'constructor={wrapper["constructor"]!r} is not one we know; it was left, and must '
            "know our parameter names, Meta's"
        )
    if kind in ('fixed', 'mmpretrain'):
        notes.change(f'optim_wrapper.constructor: {wrapper["constructor"]} is {OURS}')
        wrapper['constructor'] = OURS
        if shared:
            wrapper['paramwise_cfg']['bypass_duplicate'] = True
    name_whole_backbone(wrapper, notes)


def _check_num_layers(given: int | None, depths: Sequence[int], notes: Notes) -> None:
    needed = num_layers(depths)
    if given != needed:
        notes.name(
            f'num_layers={given!r} is not that of depths {list(depths)}, which is {needed} in the '
            'official code: the rates there were of no published recipe (deep layers above lr '
            f'itself where it is too small); here they are those of {needed}'
        )


def _default(options: dict, notes: Notes) -> dict:
    """mmengine's own constructor is left, without what it never read."""
    if decay := {k: options.pop(k) for k in READ_BY_FIXED if k in options}:
        notes.name(
            f'paramwise_cfg {decay} was read by nobody, for no constructor is named: all layers '
            f"learn at the full rate, as there. To decay: constructor='{OURS}', "
            f'paramwise_cfg=dict(decay_rate={decay.get("decay_rate", 0.8)})'
        )
    if 'custom_keys' in options:
        options['custom_keys'] = _keys(options['custom_keys'], notes)
    return options


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
    if ignored := {k: v for k, v in options.items() if k not in KNOWN_TO_FIXED}:
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
        name = our_name(key)
        if name != key:
            notes.change(f'custom_keys[{key!r}] is custom_keys[{name!r}], our name of the layer')
            if 'backbone' not in key:  # layers of necks and heads are called so too
                new[key] = value
        new[name] = value
    return new


def our_name(name: str) -> str:
    """A name of mmpretrain's parameters, or a part of one, as it is here."""
    for theirs, ours in LAYERS.items():
        name = name.replace(theirs, ours)
    return name


def name_whole_backbone(wrapper: dict, notes: Notes) -> None:
    """Name the keys of custom_keys that match a whole backbone: often they come from a base."""
    keys = (wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}
    for key, value in keys.items():
        if key.strip('.') == 'backbone' or key.strip('.').endswith('.backbone'):
            rest = {'_delete_': True, **{k: v for k, v in keys.items() if k != key}}
            notes.name(
                f'custom_keys[{key!r}] = {value} acts on the whole backbone and is carried over; '
                f'without it: paramwise_cfg=dict(custom_keys={rest})'
            )
