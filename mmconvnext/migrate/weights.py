# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Turn the pretrained weights that other packages' configs name into our ``init_cfg``."""

from __future__ import annotations

from collections.abc import Mapping

from ..checkpoint import zoo
from ..models.spellings.values import other_network
from ..recipe.errors import RecipeError
from .notes import Notes

# The default tag of a timm name: its first row in ``default_cfgs`` of timm 1.0.31,
# models/convnext.py. Names that are not listed have a single tag, or none.
TIMM_TAGS = {
    'convnext_tiny': 'in12k_ft_in1k',
    'convnext_small': 'in12k_ft_in1k',
    'convnext_atto': 'd2_in1k',
    'convnext_femto': 'd1_in1k',
    'convnext_pico': 'd1_in1k',
    'convnext_nano': 'in12k_ft_in1k',
    'convnext_base': 'fb_in22k_ft_in1k',
    'convnext_large': 'fb_in22k_ft_in1k',
    'convnext_xlarge': 'fb_in22k_ft_in1k',
    'convnext_large_mlp': 'clip_laion2b_soup_ft_in12k_in1k_320',
    'convnextv2_atto': 'fcmae_ft_in1k',
    'convnextv2_femto': 'fcmae_ft_in1k',
    'convnextv2_pico': 'fcmae_ft_in1k',
    'convnextv2_nano': 'fcmae_ft_in22k_in1k',
    'convnextv2_tiny': 'fcmae_ft_in22k_in1k',
    'convnextv2_base': 'fcmae_ft_in22k_in1k',
    'convnextv2_large': 'fcmae_ft_in22k_in1k',
    'convnextv2_huge': 'fcmae_ft_in22k_in1k_384',
}
# timm 0.6 and older had no tags but put the data into the name; ``register_model_deprecations`` in
# models/convnext.py of timm 1.0.31 lists what became of these names.
TIMM_OLD = {
    '_384_in22ft1k': 'fb_in22k_ft_in1k_384',
    '_in22ft1k': 'fb_in22k_ft_in1k',
    '_in22k': 'fb_in22k',
}


def renewed_weights(node: Mapping, model: dict, notes: Notes, path: str) -> dict | None:
    """Our ``init_cfg`` for a backbone of mmpretrain or Meta.

    Weights may be given in its ``init_cfg``, in its ``pretrained``, or in the ``pretrained`` of the
    model around it, which is set to None.
    """
    kept = None
    given = node.get('init_cfg')
    for initializer in given if isinstance(given, (list, tuple)) else [given or {}]:
        if initializer.get('type') == 'Pretrained':
            kept = {k: v for k, v in initializer.items() if k not in ('prefix', '_scope_')}
            # mmpretrain's classifiers have this prefix, which loading recognises by itself.
            if (prefix := initializer.get('prefix', 'backbone.')).rstrip('.') != 'backbone':
                kept['prefix'] = prefix
        elif initializer:
            notes.change(
                f'{path}: init_cfg of type {initializer.get("type")!r} removed: the default '
                'initialization is the same, a truncated normal with std 0.02'
            )
    outer = model.get('pretrained') if isinstance(model, dict) else None
    for name in (node.get('pretrained'), outer):
        if name and (other_network(str(name)) or 'resnet' in str(name)):
            notes.change(f'{path}: pretrained={name!r} removed: weights of another network')
        elif name:
            kept = dict(type='Pretrained', checkpoint=name)
            notes.change(f'{path}: pretrained={name!r} became init_cfg')
    if outer:
        model['pretrained'] = None
    if kept is None:
        notes.name(
            f'{path}: no pretrained weights, so training starts from random ones unless load_from '
            'is set; if you gave them on the command line (model.pretrained=...), write init_cfg='
            "dict(type='Pretrained', checkpoint=...); tools/list_weights.py lists names"
        )
    return kept


def of_mmseg(node: Mapping) -> bool:
    """Whether a timm wrapper is mmseg's, which loads weights and returns all maps by default.

    mmpretrain's does neither (see the signatures of both). Without a scope it is mmseg's.
    """
    name = node.get('_scope_') or node['type']
    return not name.startswith(('mmpretrain', 'mmcls'))


def timm_weights(node: Mapping, notes: Notes, path: str) -> dict | None:
    """Our ``init_cfg`` for ``pretrained=True`` or ``checkpoint_path`` of a timm wrapper."""
    if checkpoint := node.get('checkpoint_path'):
        return dict(type='Pretrained', checkpoint=checkpoint)
    if not node.get('pretrained', of_mmseg(node)):
        return None
    name, _, tag = node['model_name'].rpartition('/')[2].partition('.')
    for ending, old_tag in TIMM_OLD.items():
        if name.endswith(ending):
            name, tag = name[: -len(ending)], old_tag
            break
    short = f'timm/{name}.{tag or TIMM_TAGS.get(name, "")}'
    if zoo.find(short) is None:
        raise RecipeError(
            f'{path}: there are no published weights {short!r}; the most similar are '
            f'{zoo.nearest(short)}: write the tag into model_name'
        )
    if not tag:
        notes.name(
            f'{path}: {name} without a tag means {short} in timm 1.0; timm before 0.9 loaded '
            f'timm/{name}.fb_in1k, or the only tag there was'
        )
    return dict(type='Pretrained', checkpoint=short)
