# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families/dense_one_stage.py: RetinaNet, RTMDet, YOLO and their like rehearse."""

import pytest
from fixtures import found
from mmengine.config import Config

from mmconvnext.recipe.checks.model import check_channels
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.families.dense_one_stage import DenseOneStage
from mmconvnext.recipe.load import load_config
from mmconvnext.recipe.toy import make_toy
from mmconvnext.recipe.walk import pipelines, type_name

from .conftest import CHANNELS

FOUR = dict(neck=dict(in_channels=CHANNELS))
THREE = dict(neck=dict(in_channels=CHANNELS[1:]), out_indices=(1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    'base, parts',
    [
        ('retinanet/retinanet_r50_fpn_1x_coco.py', FOUR),
        ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', FOUR),
        ('atss/atss_r50_fpn_1x_coco.py', FOUR),
        ('rtmdet/rtmdet_l_8xb32-300e_coco.py', THREE),
        ('rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', THREE),
        ('yolox/yolox_s_8xb8-300e_coco.py', THREE),
        ('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py', FOUR),
    ],
)
def test_rehearsal(rehearse, base, parts):
    rehearse(f'mmdet::{base}', **parts)


def test_image_sizes_are_multiples_of_32(three_lines, toy_data):
    """CSPNeXtPAFPN joins a map with one of half its size, doubled."""
    cfg = load_config(three_lines('mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py', **THREE))
    make_toy(cfg)
    sizes = [node.size for node in pipelines(cfg) if type_name(node) == 'Pad' and 'size' in node]
    # Of training, validation, test, test-time augmentation and the hook's second pipeline.
    assert len(sizes) == 5 and sizes.count((160, 160)) == 4 and all(h % 32 == 0 for h, _ in sizes)
    assert [node.img_scale for node in pipelines(cfg) if 'img_scale' in node] == [(160, 160)] * 2


def test_a_mosaic_is_cut_to_the_size_of_one_image(three_lines, toy_data):
    cfg = load_config(three_lines('mmdet::yolox/yolox_s_8xb8-300e_coco.py', **THREE))
    make_toy(cfg)
    (affine,) = [node for node in pipelines(cfg) if type_name(node) == 'RandomAffine']
    assert affine.border == (-80, -80)  # half of 160
    (resize,) = cfg.model.data_preprocessor.batch_augments
    assert tuple(resize.random_size_range) == (128, 192)


def test_yolov3_takes_the_last_map_first(three_lines, toy_data):
    base = 'mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py'
    neck = dict(in_channels=[768, 384, 192])
    cfg = load_config(three_lines(base, out_indices=(1, 2, 3), neck=neck))
    assert found(cfg, lambda cfg, loaders: check_channels(cfg) or []) == []
    make_toy(cfg)
    assert cfg.model.neck.in_channels == [320, 160, 80]


@pytest.mark.parametrize('several', [False, True])
def test_ssd_is_refused(several):
    neck = dict(type='mmdet.SSDNeck', in_channels=[1, 2])
    model = dict(type='SSD', neck=[dict(type='FPN'), neck] if several else neck)
    with pytest.raises(RecipeError, match='cannot shrink SSDNeck: .* 300 pixels'):
        DenseOneStage().shrink(Config(), model, [1, 2])
