# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Replace other packages' ConvNeXt in a config with ours."""

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
# Keys of mmengine and of these wrappers, and those that this module handles itself.
CONFIG_KEYS = ('type', '_scope_', '_delete_', 'init_cfg', 'pretrained', 'checkpoint_path')


@dataclass
class Renewed:
    """A backbone that was replaced: its place, its package, its arguments before and after."""

    path: str
    peer: str
    before: dict
    after: dict


def renew_backbones(cfg: dict, notes: Notes) -> list[Renewed]:
    """Replace every ConvNeXt of another package in ``cfg``, in place and at any depth.

    Raises:
        RecipeError: there is none, or one needs something that ours does not have.
    """
    renewed = []
    for path, node in list(dicts(cfg)):
        if peer := peer_of(node, cfg):
            before = dict(node)
            after = _renew(node, peer, cfg, path, notes)
            node.clear()
            node.update(after)
            renewed.append(Renewed(path, peer, before, after))
            notes.change(f"{path}: {before['type']} became type='{OURS}'{_told(before, after)}")
    if not renewed:
        raise RecipeError(_nothing(cfg))
    return renewed


def depths_of(arguments: Mapping) -> tuple[int, ...]:
    """The depths of our backbone with these arguments."""
    return get_arch(arguments['arch'], arguments.get('version', 'v1')).depths


def peer_of(node: Mapping, cfg: Mapping) -> str:
    """The package whose ConvNeXt the dict builds: 'mmpretrain', 'meta', 'timm', or '' for none."""
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
    # Otherwise it may be ours, unless the config's imports or its age indicate another package.
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
        if asked.get('frozen_stages', 0) == 0:  # freezes nothing there, the stem here
            asked.pop('frozen_stages', None)
        _pooling(asked, path, notes)
    given = {key: value for key, value in asked.items() if key in OWN_KEYS}
    foreign = {key: value for key, value in asked.items() if key not in OWN_KEYS}
    try:
        after = {'type': OURS, **given, **translate(foreign, given, sorted(OWN_KEYS))}
        depths_of({'arch': 'tiny', **after})  # refuses a size that this package does not have
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
    """Set size and version from the model's name, and the maps that the wrapper returns.

    Raises:
        RecipeError: a network that this package cannot build.
    """
    name = asked.pop('model_name').rpartition('/')[2]
    for ending in TIMM_OLD:
        name = name.removesuffix(ending)
    found = named(name)
    if found is None:
        raise RecipeError(f'{path}: this package cannot build model_name={name!r}')
    asked['arch'] = found.arch
    if found.version == 'v2':
        asked['version'] = 'v2'
    # The default of mmseg's wrapper is True; mmpretrain's is False, which returns the last map.
    if asked.pop('features_only', of_mmseg(node)):
        notes.name(
            f'{path}: timm returns feature maps without norms; here each map has a norm, as in the '
            'official dense models'
        )
    else:
        asked['out_indices'] = -1


def _pooling(asked: dict, path: str, notes: Notes) -> None:
    """mmpretrain pools before the last norm by default, which only suits classifiers."""
    if 'gap_before_final_norm' not in asked:
        notes.name(
            f'{path}: gap_before_final_norm is not set, so mmpretrain pools the feature maps; here '
            'they are not pooled'
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
    """The dict or list that contains the value at ``path``."""
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
        return f'nothing to migrate: the config already has our ConvNeXt, {found}'
    listed = ', '.join(f'{path}={kind!r}' for path, kind in found.items())
    return (
        'no ConvNeXt to migrate: '
        f'{"the backbones are " + listed if listed else "there is no backbone"}; '
        f"supported are {KNOWN}. To use ours: backbone=dict(_delete_=True, type='{OURS}', "
        "arch='tiny') and the neck's or head's in_channels=[96, 192, 384, 768]"
    )


def refuse_classifier(cfg: Mapping) -> None:
    """Refuse a classifier, that is, a config for mmpretrain's or mmcls' tools.

    Raises:
        RecipeError: it is a classifier; the message gives the line to write.
    """
    kind = (cfg.get('model') or {}).get('type')
    scope = cfg.get('default_scope')
    if scope in ('mmpretrain', 'mmcls') or str(kind).endswith('Classifier'):
        raise RecipeError(
            f'model.type={kind!r} is not a detector or segmentor, the only models that this tool '
            f"migrates. For a classifier, write backbone=dict(type='{OURS}', out_indices=-1, "
            'gap_before_final_norm=True, ...) and remove the pooling neck'
        )
