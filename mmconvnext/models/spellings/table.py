# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The table: each argument of other packages' ConvNeXts, and what it becomes here.

Sources: the constructors of ``ConvNeXt`` in mmcls 0.25 and mmpretrain 1.2
(``models/backbones/convnext.py``), in Meta's repositories (``models/convnext.py``,
``convnextv2.py``, ``mmdet/models/backbones/convnext.py``), in timm 1.0 and torchvision 0.29
(``models/convnext.py``); timm's wrapper ``TIMMBackbone`` in mmseg 1.2 and mmpretrain 1.2;
``ConvNextConfig`` of transformers 5; ``EncoderDecoder`` of mmseg 1.2 and the detectors of mmdet 2,
which pass ``pretrained`` on to the backbone.
"""

from __future__ import annotations

from typing import NamedTuple

from . import rules, values


class Spelling(NamedTuple):
    """A row: an argument, its packages, its rule, and the text for the manual."""

    name: str
    whose: str
    rule: rules.Rule
    text: str


_one_of_two = rules.only(True, False, otherwise='it must be True or False')
_BOTH = 'accepted: True and False compute the same, and weights of either kind load'
_SIZE = '`arch`, from depths and widths together'
_HEAD = 'error: a backbone has no classifier'


def _head(*names: str, whose: str) -> list[Spelling]:
    rule = rules.only(otherwise='a backbone has no classifier')
    return [Spelling(name, whose, rule, _HEAD) for name in names]


_ROWS = [
    Spelling(
        'use_grn',
        'mmpretrain, timm',
        rules.use_grn,
        "True: `version='v2'`, with `layer_scale_init_value=1e-6` (their default) unless it is "
        "given; False: `version='v1'`",
    ),
    Spelling(
        'norm_cfg',
        'mmpretrain',
        rules.design(values.norm),
        '`design.norm` and `design.norm_eps`; without `eps` it is 1e-5, as in mmpretrain',
    ),
    Spelling('act_cfg', 'mmpretrain', rules.design(values.activation), '`design.act`'),
    Spelling(
        'stem_patch_size',
        'mmpretrain',
        rules.switch('stem_patch_size'),
        '`design.stem_patch_size`',
    ),
    Spelling('linear_pw_conv', 'mmpretrain', _one_of_two, _BOTH),
    Spelling('in_chans', 'Meta, timm', rules.same('in_channels'), '`in_channels`'),
    Spelling('depths', 'Meta, timm, transformers', rules.stages, _SIZE),
    Spelling('dims', 'Meta, timm', rules.stages, _SIZE),
    Spelling('hidden_sizes', 'transformers', rules.stages, _SIZE),
    Spelling('num_channels', 'transformers', rules.same('in_channels'), '`in_channels`'),
    Spelling(
        'patch_size',
        'timm, transformers',
        rules.switch('stem_patch_size'),
        "`design.stem_patch_size`; timm's values other than 4: error, as later strides change too",
    ),
    Spelling('hidden_act', 'transformers', rules.design(values.activation), '`design.act`'),
    Spelling('num_stages', 'transformers', rules.num_stages, 'accepted if it agrees with `arch`'),
    Spelling(
        'out_features',
        'transformers',
        rules.out_features,
        "`out_indices`; 'stage1' is 0",
    ),
    Spelling(
        'image_size',
        'transformers',
        rules.only(otherwise='the backbone accepts any size'),
        'error: the backbone accepts any size',
    ),
    Spelling(
        'layer_norm_eps',
        'transformers',
        rules.only(otherwise='it affects the classifier only; the maps use design.norm_eps'),
        _HEAD,
    ),
    Spelling(
        'model_name', 'timm', rules.model_name, 'error: write `arch`, `version` and `init_cfg`'
    ),
    Spelling('checkpoint_path', 'timm', rules.checkpoint_path, 'error: write `init_cfg`'),
    Spelling(
        'pretrained',
        'mmseg, mmdet, timm',
        rules.pretrained,
        'a path, URL or short name: `init_cfg`; None and False: accepted; True, weights of another '
        'network, or `init_cfg` as well: error',
    ),
    Spelling(
        'features_only',
        'timm',
        rules.only(True, otherwise='a backbone has no classifier'),
        'True: accepted; False: error',
    ),
    Spelling(
        'ls_init_value',
        'timm',
        rules.ls_init_value,
        '`layer_scale_init_value`, 0 for None; 0: error',
    ),
    Spelling(
        'kernel_sizes',
        'timm',
        rules.switch('kernel_size'),
        '`design.kernel_size`',
    ),
    Spelling('norm_layer', 'timm', rules.norm_layer, '`design.norm`'),
    Spelling('norm_eps', 'timm', rules.switch('norm_eps'), '`design.norm_eps`'),
    Spelling('act_layer', 'timm', rules.design(values.activation), '`design.act`'),
    Spelling('conv_mlp', 'timm', _one_of_two, _BOTH),
    Spelling(
        'conv_bias',
        'timm',
        rules.only(True, otherwise='all convolutions have a bias'),
        'True: accepted; False: error',
    ),
    Spelling(
        'stem_type', 'timm', rules.design(values.stem), "`design.stem`; 'patch' becomes 'patchify'"
    ),
    Spelling(
        'output_stride',
        'timm',
        rules.only(32, otherwise='stages cannot be dilated'),
        '32: accepted; others: error',
    ),
    Spelling(
        'stochastic_depth_prob', 'torchvision', rules.same('drop_path_rate'), '`drop_path_rate`'
    ),
    Spelling(
        'layer_scale',
        'torchvision',
        rules.same('layer_scale_init_value'),
        '`layer_scale_init_value`',
    ),
    Spelling('use_checkpoint', 'forks of Meta', rules.use_checkpoint, '`with_cp`'),
    Spelling(
        'norm_eval',
        'mmdet, mmseg',
        rules.only(False, otherwise='LayerNorm has no running statistics to freeze'),
        'False: accepted; True: error',
    ),
    *_head('num_classes', 'head_init_scale', whose='Meta, timm'),
    *_head('drop_rate', 'global_pool', 'head_norm_first', 'head_hidden_size', whose='timm'),
]
TABLE = {row.name: row for row in _ROWS}


def as_markdown() -> str:
    """The table of ``docs/spellings.md``."""
    lines = [('argument', 'package', 'here'), ('---', '---', '---')]
    lines += [(f'`{row.name}`', row.whose, row.text) for row in TABLE.values()]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
