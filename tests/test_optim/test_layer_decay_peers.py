# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: in whole models of mmdet and mmseg every parameter has the rate and the weight decay
that their own ``LearningRateDecayOptimizerConstructor`` gives it; if a weight-decay option is
given, mmengine's rules apply outside the backbone. Inherited keys change what they name.
"""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

mmdet = pytest.importorskip('mmdet')
mmseg = pytest.importorskip('mmseg')

LR, DECAY, RATE = 1e-3, 0.05, 0.7
DCN = dict(type='DCNv2', deform_groups=1)
BACKBONE = dict(
    _delete_=True,
    type='mmconvnext.ConvNeXt',
    arch=dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64]),
)
# name: package, config, changes of the model
MODELS_OF_PEERS = {
    'mask-rcnn': (mmdet, 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', {}),
    'cascade': (mmdet, 'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py', {}),
    'retinanet-dcn': (
        mmdet,
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        dict(bbox_head=dict(conv_cfg=DCN), neck=dict(conv_cfg=DCN)),
    ),
    'rtmdet': (mmdet, 'rtmdet/rtmdet_s_8xb32-300e_coco.py', {}),
    'dino': (mmdet, 'dino/dino-4scale_r50_8xb2-12e_coco.py', {}),
    'deformable-detr': (mmdet, 'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', {}),
    'mask2former-det': (mmdet, 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', {}),
    'upernet': (
        mmseg,
        'upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py',
        dict(pretrained=None),
    ),
    'mask2former-seg': (mmseg, 'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py', {}),
}


def config_of(name: str) -> Config:
    package, path, changes = MODELS_OF_PEERS[name]
    config = Config.fromfile(Path(package.__file__).parent / '.mim/configs' / path)
    merged = dict(model=dict(backbone=BACKBONE, **changes))
    config.merge_from_dict(copy.deepcopy(merged))  # it takes the `_delete_` out
    return config


def build_model(config: Config) -> nn.Module:
    with DefaultScope.overwrite_default_scope(config.default_scope), torch.device('meta'):
        return MODELS.build(config.model)


def settings(model: nn.Module, constructor: str, paramwise: dict, **optimizer) -> dict:
    """Name -> (rate over the base rate, weight decay) of every parameter."""
    cfg = dict(
        constructor=constructor,
        optimizer={**dict(type='AdamW', lr=LR, weight_decay=DECAY), **optimizer},
        paramwise_cfg=paramwise,
    )
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (pytest.approx(group['lr'] / LR), group['weight_decay'])
        for group in build_optim_wrapper(model, cfg).optimizer.param_groups
        for param in group['params']
    }


def ours(model: nn.Module, **paramwise) -> dict:
    options = dict(decay_rate=RATE, bypass_duplicate=True, **paramwise)
    return settings(model, 'mmconvnext.LayerDecayOptimWrapperConstructor', options)


@pytest.mark.parametrize('name', sorted(MODELS_OF_PEERS))
@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
def test_all_rates_and_decays_are_those_of_the_peers_constructor(name, decay_type):
    package, _, _ = MODELS_OF_PEERS[name]
    model = build_model(config_of(name))
    theirs = f'{package.__name__}.LearningRateDecayOptimizerConstructor'
    options = dict(decay_rate=RATE, decay_type=decay_type, num_layers=6)
    assert ours(model, decay_type=decay_type) == settings(model, theirs, options)


def test_two_dimensional_scales_and_offsets_of_heads():
    """RTMPose's gated attention unit has a gamma of (2, s), DCN a bias of its offsets."""
    model = build_model(config_of('retinanet-dcn'))
    model.gau = nn.Module()
    model.gau.gamma, model.gau.beta = (nn.Parameter(torch.rand(2, 4)) for _ in range(2))
    model.gau.scale = nn.Parameter(torch.rand(4))
    result = ours(model)
    assert result['gau.gamma'] == result['gau.beta'] == (1.0, DECAY)
    assert result['gau.scale'] == (1.0, 0.0)
    offsets = [name for name in result if name.endswith('conv_offset.bias')]
    assert len(offsets) > 4
    assert {result[name][1] for name in offsets} == {0.0}
    theirs = 'mmdet.LearningRateDecayOptimizerConstructor'
    assert result == settings(model, theirs, dict(decay_rate=RATE, num_layers=6))


@pytest.mark.parametrize(
    'options',
    [
        dict(norm_decay_mult=0.5),
        dict(bias_decay_mult=0.5),
        dict(dwconv_decay_mult=0.0),
        dict(flat_decay_mult=0.5),
        dict(norm_decay_mult=None),
        dict(norm_decay_mult=0.5, bias_decay_mult=0.25, dwconv_decay_mult=2, flat_decay_mult=0.125),
    ],
    ids=str,
)
@pytest.mark.parametrize('name', ['rtmdet', 'retinanet-dcn', 'mask2former-seg'])
def test_an_option_of_the_decay_is_mmengines_outside(name, options):
    model = build_model(config_of(name))
    rest = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0)
    theirs = settings(
        model, 'DefaultOptimWrapperConstructor', dict(bypass_duplicate=True, **{**rest, **options})
    )
    result = ours(model, **options)
    assert result.keys() == theirs.keys()
    for key, expected in theirs.items():
        if not key.startswith('backbone.'):
            assert result[key] == expected, key


INHERITED = ['deformable-detr', 'dino', 'mask2former-det', 'mask2former-seg']


@pytest.mark.parametrize('name', INHERITED)
def test_inherited_rate_of_the_backbone_multiplies_that_of_the_layers(name):
    config = config_of(name)
    inherited = config.optim_wrapper.paramwise_cfg
    assert inherited.custom_keys.backbone.lr_mult == 0.1
    inherited.custom_keys.backbone.pop('decay_mult', None)
    model = build_model(config)
    plain, result = ours(model), ours(model, **inherited)
    scales = [param for name, param in plain.items() if name.endswith('.gamma')]
    assert len(scales) == 5
    for key, (rate, decay) in plain.items():
        if key.startswith('backbone.'):
            assert result[key] == (pytest.approx(0.1 * rate.expected), decay), key


@pytest.mark.parametrize('name', INHERITED)
def test_inherited_keys_of_the_backbone_are_named_with_what_takes_them_back(
    name, tmp_path, log_records
):
    config, model = config_of(name), build_model(config_of(name))
    own = config.optim_wrapper.paramwise_cfg.custom_keys.backbone
    options = "constructor='mmconvnext.LayerDecayOptimWrapperConstructor', type='OptimWrapper'"

    def built(paramwise: str) -> tuple[dict, str]:
        base = Path(config.filename).as_posix()
        (tmp_path / 'leaf.py').write_text(
            f'_base_ = {base!r}\noptim_wrapper = dict({options}, paramwise_cfg=dict('
            f'decay_rate=0.7, {paramwise}))\n'
        )
        log_records.clear()
        wrapper = Config.fromfile(tmp_path / 'leaf.py').optim_wrapper
        assert wrapper.paramwise_cfg.custom_keys.keys() >= {'backbone'}
        table = settings(model, wrapper.pop('constructor'), wrapper.paramwise_cfg)
        return table, log_records[-1].getMessage()

    with_keys, log = built('bypass_duplicate=True')
    found = re.search(
        r'^custom_keys give backbone 0.1 .*undo them in .*(custom_keys=.*)$',
        log,
        re.M,
    )
    assert ('norms and biases' in found.group()) == ('decay_mult' in own)
    without, log = built(f'bypass_duplicate=True, {found.group(1)}')
    assert 'custom_keys give' not in log
    plain = ours(model)
    for key in plain:
        expected = plain[key] if key.startswith('backbone.') else with_keys[key]
        assert without[key] == expected, key
    assert without != with_keys
