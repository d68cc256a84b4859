# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/families/query_based.py: DETR's descendants and Mask2Former rehearse."""

import pytest
from mmengine.config import Config

from mmconvnext.recipe.checks.model import check_channels
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.families.query_based import QueryBased
from mmconvnext.recipe.load import load_config
from mmconvnext.recipe.toy import make_toy

from .conftest import CHANNELS

THREE = dict(neck=dict(in_channels=CHANNELS[1:]), out_indices=(1, 2, 3))
LAST = dict(neck=dict(in_channels=CHANNELS[3:]), out_indices=(3,))
HEAD = dict(panoptic_head=dict(in_channels=CHANNELS))
MASK2FORMER = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
DINO = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'


@pytest.mark.slow
@pytest.mark.parametrize(
    'base, parts',
    [
        ('mmdet::detr/detr_r50_8xb2-150e_coco.py', LAST),
        ('mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', THREE),
        (DINO, THREE),
        (MASK2FORMER, HEAD),
    ],
)
def test_rehearsal(rehearse, base, parts):
    assert 'coco/bbox_mAP' in rehearse(base, **parts)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mask2former_r50_8xb2-lsj-50e', 'maskformer_r50_ms-16xb1-75e'])
def test_rehearsal_of_panoptic_segmentation(rehearse, name):
    folder = name.partition('_')[0]
    suffix = '-panoptic' if folder == 'mask2former' else ''
    reported = {f'coco_panoptic/{metric}' for metric in ('PQ', 'PQ_th', 'PQ_st')}
    reported |= {'coco/bbox_mAP', 'coco/segm_mAP'} if suffix else set()
    assert reported <= set(rehearse(f'mmdet::{folder}/{name}_coco{suffix}.py', **HEAD))


def test_sizes_of_dino(three_lines, toy_data):
    cfg = load_config(three_lines(DINO, **THREE))
    make_toy(cfg)
    assert cfg.model.num_queries == cfg.model.test_cfg.max_per_img == 100
    assert cfg.model.dn_cfg.group_cfg.num_dn_queries == 20
    assert cfg.model.encoder.num_layers == cfg.model.decoder.num_layers == 2
    # DINO's decoder encodes coordinates for a width of 256, whatever the config says.
    assert cfg.model.encoder.layer_cfg.self_attn_cfg.embed_dims == 256
    assert cfg.model.bbox_head.loss_bbox.loss_weight == 5.0


def test_sizes_of_mask2former(three_lines, toy_data):
    cfg = load_config(three_lines(MASK2FORMER, **HEAD))
    make_toy(cfg)
    head = cfg.model.panoptic_head
    assert head.in_channels == [40, 80, 160, 320]
    assert head.transformer_decoder.layer_cfg.self_attn_cfg.embed_dims == head.feat_channels == 64
    assert head.positional_encoding.num_feats == 32
    assert cfg.model.train_cfg.num_points == 1024
    (pad,) = cfg.model.data_preprocessor.batch_augments
    assert pad.size == (256, 256)  # of 1024, times 0.24, to a multiple of 32


@pytest.mark.parametrize('key', ['max_per_img', 'max_per_image'])
@pytest.mark.parametrize(('given', 'most'), [(101, 100), (100, 100), (7, 7)])
def test_no_more_results_than_queries(key, given, most):
    model = dict(type='A', panoptic_head=dict(in_channels=[1]), test_cfg=dict(rcnn={key: given}))
    QueryBased().shrink(Config(), model, [8])
    assert model['test_cfg'] == dict(rcnn={key: most})
    model = dict(type='A', neck=dict(type='A', in_channels=[1]), test_cfg=None)
    QueryBased().shrink(Config(), model, [8])
    assert model['neck']['in_channels'] == [8]


def test_a_head_without_a_neck_is_checked(three_lines):
    cfg = load_config(three_lines(MASK2FORMER))
    with pytest.raises(RecipeError, match=r'panoptic_head\.in_channels=\[256, .*\[96, 192, 384'):
        check_channels(cfg)


def test_a_neck_takes_the_maps_before_the_head_does():
    model = dict(neck=dict(in_channels=[1]), panoptic_head=dict(in_channels=[2]))
    assert [part.path for part in QueryBased().inputs(model, 2)] == ['neck']
    del model['neck']
    assert [part.path for part in QueryBased().inputs(model, 2)] == ['panoptic_head']
