# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/model.py: channels fit from backbone to neck and heads; a decay rate is read."""

import pytest
from fixtures import CASCADE, LEAVES, MASK_RCNN, UPERNET, stem
from mmengine.config import Config

from mmconvnext.recipe.checks.model import check_channels, check_constructor
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.parametrize('config', LEAVES, ids=stem)
def test_every_shipped_config_passes(load, config):
    cfg = load(str(config))
    check_channels(cfg)
    assert check_constructor(cfg) == []


def test_neck_channels_that_do_not_match(load):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.arch = 'base'
    with pytest.raises(
        RecipeError,
        match=r'model\.neck\.in_channels=\[96, 192, 384, 768\], but model\.backbone with channels '
        r'\[128, 256, 512, 1024\] returns \[128, 256, 512, 1024\]; set in_channels to that',
    ):
        check_channels(cfg)


def test_first_of_several_necks(load):
    cfg = load(MASK_RCNN)
    cfg.model.neck = [cfg.model.neck, dict(type='DyHead', in_channels=256)]
    check_channels(cfg)
    cfg.model.neck[0].in_channels = [96, 192, 384]
    with pytest.raises(RecipeError, match=r'neck\.in_channels=\[96, 192, 384\], but'):
        check_channels(cfg)


def test_decode_head_channels(load):
    cfg = load(UPERNET)
    cfg.model.decode_head.in_channels = [128, 256, 512, 1024]
    with pytest.raises(
        RecipeError,
        match=r'model\.decode_head\.in_channels=\[128, .*1024\].* returns \[96, 192, 384, 768\]',
    ):
        check_channels(cfg)


def test_auxiliary_head_channels(load):
    cfg = load(UPERNET)
    cfg.model.auxiliary_head.in_channels = 768
    with pytest.raises(
        RecipeError, match=r'model\.auxiliary_head\.in_channels=768, but .* returns \[384\]'
    ):
        check_channels(cfg)
    cfg.model.auxiliary_head.in_index = 3
    check_channels(cfg)
    cfg.model.auxiliary_head.in_index = -1
    check_channels(cfg)


def test_several_auxiliary_heads(load):
    cfg = load(UPERNET)
    cfg.model.auxiliary_head = [cfg.model.auxiliary_head, dict(in_channels=100, in_index=1)]
    with pytest.raises(RecipeError, match=r'auxiliary_head\.in_channels=100, .* returns \[192\]'):
        check_channels(cfg)


@pytest.mark.parametrize('index', [4, -5])
def test_in_index_out_of_range(load, index):
    cfg = load(UPERNET)
    cfg.model.auxiliary_head.in_index = index
    with pytest.raises(
        RecipeError, match=f'auxiliary_head.in_index={index} asks for a map .* it returns 4'
    ):
        check_channels(cfg)


def test_in_index_of_fewer_maps(load):
    cfg = load(UPERNET)
    cfg.model.backbone.out_indices = (1, 2, 3)
    with pytest.raises(RecipeError, match=r'decode_head\.in_index=\[0, 1, 2, 3\] .* it returns 3'):
        check_channels(cfg)


def test_out_indices_choose_the_channels(load):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.out_indices = (1, -1)
    with pytest.raises(RecipeError, match=r'returns \[192, 768\]'):
        check_channels(cfg)
    cfg.model.neck.in_channels = [192, 768]
    check_channels(cfg)
    cfg.model.backbone.out_indices = (0, 4)
    with pytest.raises(RecipeError, match='model.backbone: .*out of range'):
        check_channels(cfg)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(arch='tinny'), r"model\.backbone: arch='tinny' is unknown; choose one of \['atto'"),
        (dict(version='v3'), r"model\.backbone: version='v3' is unknown"),
        (dict(arch='small', version='v2'), 'was never published as ConvNeXt V2'),
        (dict(arch=dict(depth=[1], channels=[8])), "exactly the keys 'depths' and 'channels'"),
    ],
)
def test_wrong_arch(load, change, message):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.update(change)
    with pytest.raises(RecipeError, match=message):
        check_channels(cfg)


def test_an_arch_of_ones_own(load, tiny_arch):
    cfg = load(CASCADE)
    cfg.model.backbone.arch = tiny_arch
    with pytest.raises(RecipeError, match=r'with channels \[8, 16, 32, 64\] returns'):
        check_channels(cfg)
    cfg.model.neck.in_channels = tiny_arch['channels']
    check_channels(cfg)


def test_a_backbone_in_a_wrapped_detector(load):
    cfg = load(MASK_RCNN)
    cfg.model = dict(type='SoftTeacher', detector=cfg.model)
    check_channels(cfg)
    cfg.model.detector.neck.in_channels = [1, 2, 3, 4]
    with pytest.raises(RecipeError, match='but model.detector.backbone with channels'):
        check_channels(cfg)


def test_other_backbones_are_none_of_our_business():
    model = dict(backbone=dict(type='ResNet', depth=50), neck=dict(in_channels=[256]))
    check_channels(Config(dict(model=model)))


def test_decay_rate_under_another_constructor_warns(load):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.pop('constructor')
    (warning,) = check_constructor(cfg)
    assert "paramwise_cfg has ['decay_rate', 'decay_type']" in warning
    assert 'DefaultOptimWrapperConstructor ignores' in warning
    assert "'mmconvnext.LayerDecayOptimWrapperConstructor'" in warning


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0)})),
        dict(paramwise_cfg=None),
        dict(
            constructor='mmdet.LearningRateDecayOptimizerConstructor',
            paramwise_cfg=dict(decay_rate=0.9, num_layers=6),
        ),
    ],
)
def test_no_warning_without_decay_or_with_a_constructor_that_reads_it(wrapper):
    assert check_constructor(Config(dict(optim_wrapper=wrapper))) == []
    assert check_constructor(Config()) == []
