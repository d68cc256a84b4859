# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How ``--toy`` makes necks and heads small. Every number here is our choice.

One table maps widths wherever they occur, so parts that fit together still do.
"""

from __future__ import annotations

import inspect

from mmengine.config import Config
from mmengine.registry import MODELS

from ..walk import dicts, registered, type_name

WIDTHS = {256: 64, 512: 64, 1024: 128, 2048: 128}  # channels in the recipe: in the rehearsal
WIDTH_KEYS = ('in_channels', 'out_channels', 'feat_channels', 'conv_out_channels')
WIDTH_KEYS += ('fc_out_channels', 'channels', 'embed_dims', 'feedforward_channels')
WIDTH_KEYS += ('proposal_feature_channel', 'out_conv_channels')
# The most queries, sampled points of a mask, denoising queries, convolutions of a dense head.
LIMITS = dict(num_queries=100, num_points=1024, num_dn_queries=20, stacked_convs=2)
LAYERS = 2  # the most of a transformer's encoder and of its decoder
NORM = dict(type='GN', num_groups=16)
GROUPS = 8  # the most of a group norm: they divide the widths of atto


def shrink_sizes(model: dict, width_keys: tuple[str, ...] = WIDTH_KEYS) -> None:
    """Make everything except the backbone and a teacher small: widths, layers, queries."""
    for path, node in dicts(model):
        if path.split('.')[0].startswith(('backbone', 'teacher')):
            continue
        for key in width_keys:
            if key in node:
                node[key] = _width(node[key])
        if 'num_feats' in node and 'embed_dims' in width_keys:
            # Of a positional encoding: half the width for x, half for y.
            node['num_feats'] = _width(2 * node['num_feats']) // 2
        for key, most in LIMITS.items():
            if isinstance(node.get(key), int):
                node[key] = min(node[key], most)
        if isinstance(node.get('num_groups'), int) and type_name(node) == 'GN':
            node['num_groups'] = min(node['num_groups'], GROUPS)
        if 'layer_cfg' in node and 'num_layers' in node:
            node['num_layers'] = min(node['num_layers'], LAYERS)


def add_norm(cfg: Config, node: dict) -> None:
    """Give a neck or a mask head a norm if it could have one and has none.

    From random weights it learns faster with a norm (arXiv 1811.08883).
    """
    kind = registered(cfg, MODELS, node)
    if node.get('norm_cfg') or kind is None:
        return
    parameters = [
        inspect.signature(base.__init__).parameters.get('norm_cfg') for base in kind.__mro__
    ]
    first = next((found for found in parameters if found is not None), None)
    if first is not None and first.default is None:
        node['norm_cfg'] = dict(NORM)


def _width(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return type(value)(_width(item) for item in value)
    return WIDTHS.get(value, value) if isinstance(value, int) else value
