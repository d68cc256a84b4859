# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finds the ConvNeXt of other projects in a config and puts ours in its place."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

from ..arch import ARCHS, get_arch
from ..models.convnext import ConvNeXt
from ..models.spellings import translate
from ..models.spellings.values import named
from ..recipe.errors import RecipeError
from ..recipe.walk import dicts
from .notes import Notes
from .weights import TIMM_OLD, of_mmseg, renewed_weights, timm_weights

OURS = 'mmconvnext.ConvNeXt'
KNOWN = "'mmpretrain.ConvNeXt', 'mmcls.ConvNeXt', Meta's 'ConvNeXt' and timm's 'TIMMBackbone'"
OWN_KEYS = set(inspect.signature(ConvNeXt.__init__).parameters) - {'self'}
# What only mmengine or these wrappers read, and what is handled here.
CONFIG_KEYS = ('type', '_scope_', '_delete_', 'init_cfg', 'pretrained', 'checkpoint_path')


@dataclass
class Renewed:
    """A backbone that was replaced: where, whose it was, its arguments before and after."""

    path: str
    peer: str
    before: dict
    after: dict


def renew_backbones(cfg: dict, notes: Notes) -> list[Renewed]:
    """Replace every foreign ConvNeXt of ``cfg`` in place, wherever it is nested.

    Raises:
        RecipeError: there is none, or one asks for what ours does not have.
    """
    renewed = []
    for path, node in list(dicts(cfg)):
        if peer := peer_of(node, cfg):
            before = dict(node)
            after = _renew(node, peer, cfg, path, notes)
            node.clear()
            node.update(after)
            renewed.append(Renewed(path, peer, before, after))
            notes.change(f"{path}: {before['type']} is type='{OURS}'{_told(before, after)}")
    if not renewed:
        raise RecipeError(_nothing(cfg))
    return renewed


def depths_of(arguments: Mapping) -> tuple[int, ...]:
    """Blocks of each stage of our backbone with these arguments."""
    return get_arch(arguments['arch'], arguments.get('version', 'v1')).depths


def peer_of(node: Mapping, cfg: Mapping) -> str:
    """'mmpretrain', 'meta' or 'timm': whose ConvNeXt the dict builds; '' for any other."""
    kind = node.get('type')
    if not isinstance(kind, str):
        return ''
    name = kind.rpartition('.')[2]
    if name == 'TIMMBackbone':
        model = str(node.get('model_name', '')).rpartition('/')[2]
        return 'timm' if model.startswith('convnext') else ''
    if name != 'ConvNeXt' or kind.startswith('mmconvnext'):
        return ''
    if 'mmpretrain' in kind or 'mmcls' in kind:
        return 'mmpretrain'
    if node.get('_scope_') in ('mmpretrain', 'mmcls'):
        return 'mmpretrain'
    if {'gap_before_final_norm', 'use_grn', 'linear_pw_conv'} & set(node):
        return 'mmpretrain'
    if {'in_chans', 'depths', 'dims'} & set(node):
        return 'meta'
    # With none of these it may be ours, but for the modules that the config imports, or its age.
    if any(name in str(cfg.get('custom_imports')) for name in ('mmpretrain', 'mmcls')):
        return 'mmpretrain'
    if 'optimizer' in cfg and 'optim_wrapper' not in cfg:
        return 'mmpretrain' if 'arch' in node else 'meta'
    return ''


def _renew(node: dict, peer: str, cfg: dict, path: str, notes: Notes) -> dict:
    asked = {key: value for key, value in node.items() if key not in CONFIG_KEYS}
    if peer == 'timm':
        _timm_model(asked, node, path, notes)
    if peer == 'mmpretrain':
        asked.setdefault('out_indices', -1)  # the default there; here all stages
        if asked.get('frozen_stages', 0) == 0:  # nothing is frozen there; here the stem would be
            asked.pop('frozen_stages', None)
        _pooling(asked, path, notes)
    given = {key: value for key, value in asked.items() if key in OWN_KEYS}
    foreign = {key: value for key, value in asked.items() if key not in OWN_KEYS}
    try:
        after = {'type': OURS, **given, **translate(foreign, given, sorted(OWN_KEYS))}
        depths_of({'arch': 'tiny', **after})  # a size that is none of ours is refused here
    except (TypeError, ValueError) as error:
        raise RecipeError(f'{path}: {error}') from error
    after['arch'] = _named_arch(after.get('arch', 'tiny'))
    if after.get('in_channels') == 3:
        del after['in_channels']
    if after.get('out_indices') in ([0, 1, 2, 3], (0, 1, 2, 3)):
        del after['out_indices']
    if peer == 'timm':
        init_cfg = timm_weights(node, notes, path)
    else:
        init_cfg = renewed_weights(node, _holder(cfg, path), notes, path)
    if init_cfg:
        after['init_cfg'] = init_cfg
    return {'type': OURS, 'arch': after.pop('arch'), **after}


def _timm_model(asked: dict, node: dict, path: str, notes: Notes) -> None:
    """The size and version of the name, and which maps the wrapper returns.

    Raises:
        RecipeError: a network that was never built here.
    """
    name = asked.pop('model_name').rpartition('/')[2]
    for ending in TIMM_OLD:
        name = name.removesuffix(ending)
    found = named(name)
    if found is None:
        raise RecipeError(f'{path}: model_name={name!r} is no ConvNeXt that can be built here')
    asked['arch'] = found.arch
    if found.version == 'v2':
        asked['version'] = 'v2'
    # The default of mmseg's wrapper is True, mmpretrain's is False and gives the last map alone.
    if asked.pop('features_only', of_mmseg(node)):
        notes.name(
            f'{path}: timm returns its maps without a norm; ours have one each, as in the official '
            'dense models'
        )
    else:
        asked['out_indices'] = -1


def _pooling(asked: dict, path: str, notes: Notes) -> None:
    """mmpretrain pools before the last norm unless told otherwise: right for classifiers alone."""
    if 'gap_before_final_norm' not in asked:
        notes.name(
            f'{path}: gap_before_final_norm was left out, which pools the maps in mmpretrain; here '
            'they stay maps'
        )
    elif not asked['gap_before_final_norm']:
        del asked['gap_before_final_norm']  # the default here


def _named_arch(arch: object) -> object:
    if isinstance(arch, Mapping):
        for name, row in ARCHS.items():
            if [list(row.depths), list(row.channels)] == [
                list(arch['depths']),
                list(arch['channels']),
            ]:
                return name
    return arch


def _holder(cfg: dict, path: str) -> dict:
    """The dict, or list, that holds the one at ``path``."""
    node = cfg
    for key in path.split('.')[:-1]:
        node = node[int(key)] if isinstance(node, (list, tuple)) else node[key]
    return node


def _told(before: Mapping, after: Mapping) -> str:
    gone = [key for key in before if key not in after and key not in CONFIG_KEYS]
    new = [f'{key}={after[key]!r}' for key in after if before.get(key) != after[key]]
    new = [text for text in new if not text.startswith(('type=', 'init_cfg='))]
    return ''.join(
        [f', with {", ".join(new)}' if new else '', f', without {", ".join(gone)}' if gone else '']
    )


def _nothing(cfg: dict) -> str:
    nodes = {path: node for path, node in dicts(cfg) if path.endswith('backbone')}
    found = {path: node['type'] for path, node in nodes.items() if 'type' in node}
    if OURS in found.values():
        return f'nothing to migrate: the config has our ConvNeXt already, {found}'
    listed = ', '.join(f'{path}={kind!r}' for path, kind in found.items())
    return (
        f'no ConvNeXt to migrate: {"the backbones are " + listed if listed else "no backbone"}; '
        f"known are {KNOWN}. To put ours in: backbone=dict(_delete_=True, type='{OURS}', "
        "arch='tiny') and the neck's or head's in_channels=[96, 192, 384, 768]"
    )


def refuse_classifier(cfg: Mapping) -> None:
    """Refuse a config of mmpretrain's or mmcls' own tools.

    Raises:
        RecipeError: the line that such a config takes.
    """
    kind = (cfg.get('model') or {}).get('type')
    scope = cfg.get('default_scope')
    if scope in ('mmpretrain', 'mmcls') or str(kind).endswith('Classifier'):
        raise RecipeError(
            f'model.type={kind!r} is no detector or segmentor, which this package is for; a '
            f"classifier takes backbone=dict(type='{OURS}', out_indices=-1, "
            'gap_before_final_norm=True, ...) and no pooling neck'
        )
