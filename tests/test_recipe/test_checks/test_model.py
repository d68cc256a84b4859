# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/model.py: channels fit from backbone to neck and heads; every map is used."""

import pytest
from fixtures import CASCADE, LEAVES, MASK_RCNN, UPERNET, found, public_config, stem
from mmengine.config import Config

from mmconvnext.recipe.checks.model import check_channels, check_unused_maps
from mmconvnext.recipe.errors import RecipeError


def unused(cfg, launcher='pytorch'):
    cfg.launcher = launcher
    return found(cfg, lambda cfg, loaders: check_unused_maps(cfg))


@pytest.mark.parametrize('config', LEAVES, ids=stem)
def test_every_shipped_config_passes(load, config):
    cfg = load(str(config))
    check_channels(cfg)
    assert unused(cfg) == []


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
    with pytest.raises(RecipeError, match=r'neck\.0\.in_channels=\[96, 192, 384\], but'):
        check_channels(cfg)


def test_a_neck_that_takes_any_channels(load):
    cfg = load(MASK_RCNN)
    cfg.model.neck = dict(type='GlobalAveragePooling', kernel_size=(8, 4), stride=1)
    check_channels(cfg)


def test_a_neck_that_takes_the_last_map():
    name = 'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco.py'
    cfg = Config.fromfile(public_config(name))
    cfg.model.backbone = dict(type='mmconvnext.ConvNeXt', arch='tiny')
    with pytest.raises(RecipeError, match=r'neck\.in_channels=512, but .* returns \[768\]'):
        check_channels(cfg)
    cfg.model.neck.in_channels = [512]
    with pytest.raises(RecipeError, match=r'neck\.in_channels=512, but .* returns \[96, 192, '):
        check_channels(cfg)
    cfg.model.neck.in_channels = 768
    check_channels(cfg)
    match = r'stage 0, 1, 2 (.*\n)+ +model\.backbone\.out_indices=\(3,\)\nor find'
    with pytest.raises(RecipeError, match=match):
        unused(cfg)
    cfg.model.backbone.out_indices = (3,)
    check_channels(cfg)
    assert unused(cfg) == []


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
    with pytest.raises(
        RecipeError, match=r'auxiliary_head\.1\.in_channels=100, .* returns \[192\]'
    ):
        check_channels(cfg)


@pytest.mark.parametrize('index', [4, -5])
def test_in_index_out_of_range(load, index):
    cfg = load(UPERNET)
    cfg.model.auxiliary_head.in_index = index
    with pytest.raises(
        RecipeError, match=f'auxiliary_head.in_index={index} selects a map .* it returns 4'
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
    with pytest.raises(RecipeError, match='model.backbone: .*is not a stage'):
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


META_BASE = dict(depths=[3, 3, 27, 3], dims=[128, 256, 512, 1024], in_chans=3)


def test_a_backbone_in_the_words_of_other_packages(load):
    cfg = load(MASK_RCNN)
    backbone = cfg.model.backbone
    del backbone['arch']
    backbone.update(META_BASE)
    with pytest.raises(RecipeError, match=r'returns \[128, 256, 512, 1024\]; set in_channels'):
        check_channels(cfg)
    cfg.model.neck.in_channels = META_BASE['dims']
    check_channels(cfg)
    backbone.pretrained = 'open-mmlab://resnet50_v1c'
    with pytest.raises(RecipeError, match=r'(?s)model\.backbone: .*init_cfg names weights too'):
        check_channels(cfg)
    backbone.update(pretrained=None, depth=50)
    with pytest.raises(RecipeError, match=r"(?s)model\.backbone: .*arguments \['depth'\]"):
        check_channels(cfg)


def test_a_backbone_in_a_wrapped_detector(load):
    cfg = load(MASK_RCNN)
    cfg.model = dict(type='SoftTeacher', detector=cfg.model)
    check_channels(cfg)
    cfg.model.detector.neck.in_channels = [1, 2, 3, 4]
    with pytest.raises(
        RecipeError, match=r'^model\.detector\.neck\.in_channels=.* but model\.detector\.backbone'
    ):
        check_channels(cfg)


def test_a_head_inside_of_a_head():
    """K-Net's UPerNet takes all maps; a head that says nothing is left alone."""
    name = 'mmseg::knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512.py'
    cfg = Config.fromfile(public_config(name))
    cfg.model.backbone = dict(type='mmconvnext.ConvNeXt', arch='tiny')
    cfg.model.auxiliary_head.in_channels = 384
    head = cfg.model.decode_head
    with pytest.raises(RecipeError, match=r'decode_head\.kernel_generate_head\.in_channels=\[256'):
        check_channels(cfg)
    head.kernel_generate_head.in_channels = [96, 192, 384, 768]
    check_channels(cfg)
    assert unused(cfg) == []
    head.kernel_generate_head.update(in_channels=768, in_index=3)
    match = r'stage 0, 1 (.*\n)+.*kernel_generate_head\.in_index=1'
    with pytest.raises(RecipeError, match=match):
        unused(cfg)
    cfg.model.decode_head = dict(type='TheirHead', num_classes=150)
    check_channels(cfg)
    assert unused(cfg) == []


def test_other_backbones_are_none_of_our_business():
    model = dict(backbone=dict(type='ResNet', depth=50), neck=dict(in_channels=[256]))
    check_channels(Config(dict(model=model)))


def test_heads_of_mmdet_in_mmseg_take_all_maps(load):
    cfg = load(UPERNET)
    cfg.model.pop('auxiliary_head')
    cfg.model.decode_head = dict(type='Mask2FormerHead', in_channels=[96, 192, 384, 768])
    check_channels(cfg)
    assert unused(cfg) == []
    cfg.model.decode_head.in_channels = [96, 192, 384]
    with pytest.raises(RecipeError, match=r'decode_head\.in_channels=\[96, 192, 384\], but'):
        check_channels(cfg)


# Maps that nothing uses


@pytest.mark.parametrize('kind', ['FPN', 'PAFPN', 'NASFCOS_FPN', 'mmdet.FPN'])
@pytest.mark.parametrize('several', [False, True], ids=['one neck', 'list of necks'])
def test_start_level(load, kind, several):
    cfg = load(MASK_RCNN)
    cfg.model.neck.update(type=kind, start_level=1)
    path = 'neck.0' if several else 'neck'
    if several:
        cfg.model.neck = [cfg.model.neck, dict(type='DyHead', in_channels=256)]
    with pytest.raises(
        RecipeError,
        match=rf'nothing uses the map of stage 0 that model\.backbone returns[^\n]*Set\n'
        rf'  model\.backbone\.out_indices=\(1, 2, 3\)\n'
        rf'  model\.{path}\.in_channels=\[192, 384, 768\]\n'
        rf'  model\.{path}\.start_level=0\n'
        r'or find_unused_parameters=True.*\n\(checks\.unused_maps=False',
    ):
        unused(cfg)
    cfg.model.backbone.out_indices = (1, 2, 3)
    (cfg.model.neck[0] if several else cfg.model.neck).update(
        in_channels=[192, 384, 768], start_level=0
    )
    assert unused(cfg) == []
    check_channels(cfg)


def test_end_level(load):
    cfg = load(MASK_RCNN)
    cfg.model.neck.update(start_level=1, end_level=2)
    with pytest.raises(
        RecipeError,
        match=r'of stage 0, 3 that [^\n]*\n  model\.backbone\.out_indices=\(1, 2\)\n'
        r'.*=\[192, 384\]\n'
        r'.*start_level=0\n  model\.neck\.end_level=-1\n',
    ):
        unused(cfg)


def test_it_counts_the_maps_that_are_returned(load):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.out_indices = (1, 2, 3)
    cfg.model.neck.update(in_channels=[192, 384, 768], start_level=1)
    with pytest.raises(RecipeError, match=r'of stage 1 that [^\n]*\n.*out_indices=\(2, 3\)\n'):
        unused(cfg)


@pytest.mark.parametrize(
    'setting',
    [
        dict(find_unused_parameters=True),
        dict(model_wrapper_cfg=dict(find_unused_parameters=True)),
        dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', static_graph=True)),
        dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
    ],
    ids=str,
)
def test_runs_that_do_not_mind(load, setting):
    cfg = load(MASK_RCNN)
    cfg.model.neck.start_level = 1
    assert unused(cfg, 'none') == []
    with pytest.raises(RecipeError, match='nothing uses the map of stage 0'):
        unused(cfg)
    cfg.update(setting)
    assert unused(cfg) == []


def test_other_wrappers_of_the_kind_do_mind(load):
    cfg = load(MASK_RCNN)
    cfg.model.neck.start_level = 1
    assert found(cfg, lambda cfg, loaders: check_unused_maps(cfg)) == []  # no launcher
    cfg.find_unused_parameters = True  # that of the wrapper counts
    for wrapper in ({}, dict(broadcast_buffers=False), dict(type='DistributedDataParallel')):
        cfg.model_wrapper_cfg = wrapper
        with pytest.raises(RecipeError, match='nothing uses the map of stage 0'):
            unused(cfg)


def test_frozen_norms_wait_for_no_gradient(load):
    cfg = load(MASK_RCNN)
    cfg.model.neck.start_level = 1
    cfg.model.backbone.frozen_stages = 0
    with pytest.raises(RecipeError, match='nothing uses the map of stage 0'):
        unused(cfg)
    cfg.model.backbone.frozen_stages = 1
    assert unused(cfg) == []
    cfg.model.neck.start_level = 2
    with pytest.raises(RecipeError, match='nothing uses the map of stage 1 that'):
        unused(cfg)
    cfg.model.backbone.frozen_stages = 2
    assert unused(cfg) == []


def test_heads_that_leave_maps_out(load):
    cfg = load(UPERNET)
    cfg.model.decode_head = dict(type='FCNHead', in_channels=768, in_index=3)
    with pytest.raises(
        RecipeError,
        match=r'of stage 0, 1 that [^\n]*\n  model\.backbone\.out_indices=\(2, 3\)\n'
        r'  model\.decode_head\.in_index=1\n  model\.auxiliary_head\.in_index=0\n',
    ):
        unused(cfg)
    cfg.model.pop('auxiliary_head')
    cfg.model.decode_head.pop('in_index')
    with pytest.raises(
        RecipeError,
        match=r'of stage 0, 1, 2 that [^\n]*\n.*=\(3,\)\n  model\.decode_head\.in_index=0',
    ):
        unused(cfg)


def test_a_head_that_takes_the_first_map_besides(load):
    cfg = load(UPERNET)
    cfg.model.pop('auxiliary_head')
    cfg.model.decode_head = dict(
        type='DepthwiseSeparableASPPHead', in_channels=768, in_index=3, c1_in_channels=96
    )
    with pytest.raises(RecipeError, match=r'of stage 1, 2 that [^\n]*\n.*out_indices=\(0, 3\)\n'):
        unused(cfg)
    cfg.model.auxiliary_head = [dict(in_index=[0, 1]), dict(in_index=2)]
    assert unused(cfg) == []


def test_detectors_without_a_neck_take_all(load):
    cfg = load(MASK_RCNN)
    cfg.model.pop('neck')
    assert unused(cfg) == []


def test_a_head_of_several_maps_keeps_a_list_of_indices(load):
    cfg = load(UPERNET)
    cfg.model.decode_head.update(in_index=[1, 2, 3], in_channels=[192, 384, 768])
    cfg.model.auxiliary_head.update(in_index=2)
    with pytest.raises(RecipeError, match='of stage 0 that') as caught:
        unused(cfg)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert 'model.decode_head.in_index=[0, 1, 2]' in lines
    assert 'model.auxiliary_head.in_index=1' in lines


def test_a_model_whose_maps_are_unknown_hides_no_other(load):
    cfg = load(MASK_RCNN)
    cfg.model.neck.start_level = 1
    part = dict(type='Own', backbone=dict(type='mmconvnext.ConvNeXt', arch='tiny'))
    cfg.model = dict(type='Pair', first=part, second=cfg.model)
    with pytest.raises(RecipeError, match=r'of stage 0 that model\.second\.backbone returns'):
        unused(cfg)
