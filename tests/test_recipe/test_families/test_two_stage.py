# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families/two_stage.py: detectors with proposals of any kind rehearse."""

import copy

import pytest
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.families.two_stage import TwoStage
from mmconvnext.recipe.load import load_config
from mmconvnext.recipe.toy import make_toy

from .conftest import CHANNELS

NECK = dict(in_channels=CHANNELS)


@pytest.mark.slow
@pytest.mark.parametrize(
    'base',
    [
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py',  # learned proposals
        'htc/htc-without-semantic_r50_fpn_1x_coco.py',
    ],
)
def test_rehearsal(rehearse, base):
    assert 'coco/bbox_mAP' in rehearse(f'mmdet::{base}', neck=NECK)


@pytest.mark.slow
def test_rehearsal_of_panoptic_segmentation(rehearse):
    metrics = rehearse('mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', neck=NECK)
    assert 'coco_panoptic/PQ' in metrics


def test_sizes(three_lines, toy_data):
    cfg = load_config(three_lines('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', neck=NECK))
    make_toy(cfg)
    assert cfg.model.train_cfg.rcnn.sampler.num == 64
    assert cfg.model.test_cfg.rpn.nms_pre == cfg.model.test_cfg.rpn.max_per_img == 200
    assert cfg.model.test_cfg.rcnn.max_per_img == 100
    assert cfg.model.train_cfg.rpn_proposal.nms_pre == 200  # of 2000
    assert cfg.model.train_cfg.rpn.sampler.num == 256
    assert cfg.model.roi_head.mask_head.num_convs == 2
    for part in (cfg.model.neck, cfg.model.roi_head.mask_head):
        assert part.norm_cfg == dict(type='GN', num_groups=16)
    assert cfg.model.neck.in_channels == [40, 80, 160, 320]


def test_several_mask_heads_and_none():
    given = [dict(type='A', num_convs=4), dict(type='A', num_convs=1), dict(type='A')]
    expected = [dict(type='A', num_convs=2), dict(type='A', num_convs=1), dict(type='A')]
    for heads, shrunk in ((given, expected), (tuple(given), tuple(expected)), (None, None)):
        model = dict(type='A', neck=dict(type='A', in_channels=[1]))
        model['roi_head'] = copy.deepcopy(dict(mask_head=heads))
        model['train_cfg'] = dict(rcnn=[dict(sampler=None), dict(sampler=dict(type='OHEM'))])
        before = copy.deepcopy(model['train_cfg'])
        TwoStage().shrink(Config(dict(default_scope='mmdet')), model, [8])
        assert (model['roi_head'], model['train_cfg']) == (dict(mask_head=shrunk), before)


def test_a_detector_without_a_neck_is_refused(three_lines, toy_data):
    cfg = load_config(three_lines('mmdet::faster_rcnn/faster-rcnn_r50-caffe-c4_ms-1x_coco.py'))
    with pytest.raises(RecipeError, match="which part of 'FasterRCNN' takes the maps"):
        make_toy(cfg)
