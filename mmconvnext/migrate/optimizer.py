# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Replace other packages' learning-rate constructors with ours; all rates stay the same."""

from __future__ import annotations

from collections.abc import Sequence

from ..models.layer_depth import num_layers
from ..recipe.errors import RecipeError
from .notes import Notes

OURS = 'mmconvnext.LayerDecayOptimWrapperConstructor'
# Those of mmdet, mmseg and Meta's fork; the second is mmseg's older one, with ``layer_decay_rate``.
FIXED_RULES = ('LearningRateDecayOptimizerConstructor', 'LayerDecayOptimizerConstructor')
MMPRETRAIN = 'LearningRateDecayOptimWrapperConstructor'
READ_BY_FIXED = ('decay_rate', 'layer_decay_rate', 'decay_type', 'num_layers')
KNOWN_TO_FIXED = (*READ_BY_FIXED, 'bypass_duplicate')  # each parameter is in one group there anyway
MULTS = ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult')
# Names of layers that keys of custom_keys may contain: mmpretrain's -> ours, which are Meta's.
LAYERS = {'depthwise_conv': 'dwconv', 'pointwise_conv': 'pwconv'}


def constructor_of(wrapper: dict) -> str:
    """The kind of the constructor: 'ours', 'fixed', 'mmpretrain', 'default', 'unknown'."""
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
    """Replace the constructor of ``cfg['optim_wrapper']`` in place; all rates stay the same.

    Args:
        cfg: the config.
        depths: the backbone's; here they define the number of layers, elsewhere ``num_layers``.
        shared: whether modules share parameters, so that ours needs ``bypass_duplicate``.
        notes: for the report.

    Raises:
        RecipeError: layer-wise decay without a rate.
    """
    wrapper = cfg.get('optim_wrapper')
    if not isinstance(wrapper, dict):
        notes.name('the config has no optim_wrapper: set the learning rates yourself')
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
            f'constructor={wrapper["constructor"]!r} is unknown and was kept; it must work with '
            "our parameter names, which are Meta's"
        )
    if kind in ('fixed', 'mmpretrain'):
        notes.change(f'optim_wrapper.constructor: {wrapper["constructor"]} became {OURS}')
        wrapper['constructor'] = OURS
        if shared:
            wrapper['paramwise_cfg']['bypass_duplicate'] = True
    name_whole_backbone(wrapper, notes)


def _check_num_layers(given: int | None, depths: Sequence[int], notes: Notes) -> None:
    needed = num_layers(depths)
    if given != needed:
        notes.name(
            f'num_layers={given!r} does not match depths {list(depths)}: the official code uses '
            f'{needed}, and so does the new config (with too small a number, deep layers had '
            'learning rates above lr)'
        )


def _default(options: dict, notes: Notes) -> dict:
    """Options of mmengine's own constructor, without those that it ignores."""
    if decay := {k: options.pop(k) for k in READ_BY_FIXED if k in options}:
        notes.name(
            f'paramwise_cfg {decay} has no effect, because no constructor is set: all layers have '
            f"the full learning rate, as before. For layer-wise decay, write constructor='{OURS}', "
            f'paramwise_cfg=dict(decay_rate={decay.get("decay_rate", 0.8)})'
        )
    if 'custom_keys' in options:
        options['custom_keys'] = _keys(options['custom_keys'], notes)
    return options


def _fixed(options: dict, notes: Notes) -> dict:
    """The constructors of mmdet and mmseg read only four options; weight decay is fixed there."""
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
            f'paramwise_cfg {ignored} had no effect in the old config and was removed, so that the '
            'rates stay the same; to apply it, add it to paramwise_cfg'
        )
    return dict(decay_rate=rate, decay_type=decay_type)


def _mmpretrain(options: dict, notes: Notes) -> dict:
    """mmpretrain decays everything by default, and reads only decay_mult in custom_keys."""
    options = dict(options)
    new = dict(decay_rate=options.pop('layer_decay_rate', 1.0))
    options.pop('num_layers', None)
    for key in MULTS:
        new[key] = options.pop(key, None)
    if idle := [key for key in MULTS if new[key] is None]:
        notes.name(
            f'{idle} are None, so these parameters have weight decay, as in mmpretrain; remove '
            'these lines to exempt them, as in the official recipes'
        )
    if keys := options.pop('custom_keys', None):
        if inert := [key for key, value in keys.items() if 'lr_mult' in value]:
            notes.name(f'lr_mult in custom_keys {inert} had no effect in mmpretrain; removed')
        new['custom_keys'] = {
            key: {'decay_mult': 1.0, **{k: v for k, v in value.items() if k != 'lr_mult'}}
            for key, value in _keys(keys, notes).items()
        }
    if options:
        notes.name(f'paramwise_cfg {options} had no effect in mmpretrain and was removed')
    return new


def _keys(keys: dict, notes: Notes) -> dict:
    """``custom_keys`` with our layer names."""
    new = {}
    for key, value in keys.items():
        name = our_name(key)
        if name != key:
            notes.change(f'custom_keys[{key!r}] became custom_keys[{name!r}], our name for it')
            if 'backbone' not in key:  # necks and heads have such layers too
                new[key] = value
        new[name] = value
    return new


def our_name(name: str) -> str:
    """Our name for a parameter of mmpretrain's, or for a part of its name."""
    for theirs, ours in LAYERS.items():
        name = name.replace(theirs, ours)
    return name


def name_whole_backbone(wrapper: dict, notes: Notes) -> None:
    """Note the custom_keys that match a whole backbone; they often come from a base."""
    keys = (wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}
    for key, value in keys.items():
        if key.strip('.') == 'backbone' or key.strip('.').endswith('.backbone'):
            rest = {'_delete_': True, **{k: v for k, v in keys.items() if k != key}}
            notes.name(
                f'custom_keys[{key!r}] = {value} applies to the whole backbone and was kept; to '
                f'remove it, write paramwise_cfg=dict(custom_keys={rest})'
            )
