# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/heads.py: classes are set in the heads that predict them, and in no others."""

from pathlib import Path

import mmdet
import mmseg
import pytest
from fixtures import MASK_RCNN, UPERNET, warnings
from mmengine.config import Config

from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.own_data.heads import set_classes
from mmconvnext.recipe.walk import dicts

DETECTORS = Path(mmdet.__path__[0], '.mim/configs')
SEGMENTORS = Path(mmseg.__path__[0], '.mim/configs')


def weights(cfg) -> dict:
    found = dicts(cfg.model, 'model')
    return {path: n['class_weight'] for path, n in found if n.get('class_weight') is not None}


@pytest.mark.parametrize('config', ['htc/htc_r50_fpn_1x_coco.py', 'scnet/scnet_r50_fpn_1x_coco.py'])
def test_a_semantic_head_keeps_its_classes(load, coco_data, config):
    cfg = Config.fromfile(DETECTORS / config)
    plain = load(MASK_RCNN)  # pipelines without label maps
    cfg.merge_from_dict({'train_dataloader.dataset': plain.train_dataloader.dataset})
    cfg.own_data = coco_data
    apply_own_data(cfg)
    numbers = {path: n['num_classes'] for path, n in dicts(cfg.model) if 'num_classes' in n}
    assert numbers.pop('roi_head.semantic_head') == 183
    assert set(numbers.values()) == {2} and len(numbers) > 3


def test_rpn_tells_objects_from_background(coco_data):
    cfg = Config.fromfile(DETECTORS / 'faster_rcnn/faster-rcnn_r50_fpn_fcos-rpn_1x_coco.py')
    assert cfg.model.rpn_head.num_classes == 1
    for classes in (['nucleus'], ['a', 'b', 'c']):  # the first time it is as many as RPN has
        cfg.own_data = dict(coco_data, classes=classes)
        apply_own_data(cfg)
        assert cfg.model.rpn_head.num_classes == 1
        assert cfg.model.roi_head.bbox_head.num_classes == len(classes)


def test_boundaries_are_two_classes_of_their_own(seg_data):
    cfg = Config.fromfile(SEGMENTORS / 'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py')
    cfg.own_data = seg_data
    apply_own_data(cfg)
    assert [head.num_classes for head in cfg.model.auxiliary_head] == [3, 3, 2]
    assert cfg.model.decode_head.num_classes == 3


@pytest.mark.parametrize(
    'config',
    [
        'cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py',
        'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py',
        'ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py',
    ],
)
def test_weights_of_single_classes_of_the_base_are_dropped(seg_data, log_records, config):
    cfg = Config.fromfile(SEGMENTORS / config)
    before = weights(cfg)
    cfg.own_data = seg_data
    apply_own_data(cfg)
    assert weights(cfg) == {}
    lines = warnings(log_records)
    assert len(lines) == len(before)
    for path, line in zip(before, lines):
        assert line.startswith(f'{path}.class_weight has 19 weights for the classes of the base')
        assert 'class_weight=[...] there, with 3 numbers' in line


def test_weights_of_the_user_stay(load, seg_data, log_records):
    cfg = load(UPERNET)
    cfg.model.decode_head.loss_decode.class_weight = [1.0, 2.0, 4.0]
    cfg.own_data = seg_data
    apply_own_data(cfg)
    assert cfg.model.decode_head.loss_decode.class_weight == [1.0, 2.0, 4.0]
    assert warnings(log_records) == []


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ([2.0] * 4, [2.0] * 3),
        ([1.0] * 4 + [0.1], [1.0] * 3 + [0.1]),  # "no object" after the classes
        ([1.0, 2.0, 3.0, 4.0, 0.1], None),
        ([1.0, 2.0, 3.0, 4.0], None),
        ([0.5] * 7, [0.5] * 7),  # whatever it is, it is not one for each class
        ('weights.npy', 'weights.npy'),
        (1.0, 1.0),
    ],
)
def test_weights_alike_for_all_classes_fit(given, expected):
    model = Config(dict(head=dict(num_classes=4, loss=[dict(class_weight=given)])))
    set_classes(model._cfg_dict, 3, 0, 'mmseg')
    assert model.head.num_classes == 3
    assert model.head.loss[0].get('class_weight') == expected


def test_boxes_are_of_things_and_pixels_of_both():
    model = dict(
        roi_head=dict(bbox_head=[dict(num_classes=80, loss=dict(class_weight=[1.0] * 80 + [0.1]))]),
        semantic_head=dict(num_things_classes=80, num_stuff_classes=53),
        panoptic_head=dict(num_things_classes=80, loss_cls=dict(class_weight=[1.0] * 81)),
        roi_heads=dict(num_classes=80),
        neck=dict(out_channels=5),
    )
    model = Config(model)._cfg_dict
    set_classes(model, 5, 2, 'mmdet')
    (head,) = model.roi_head.bbox_head
    assert head == dict(num_classes=5, loss=dict(class_weight=[1.0] * 5 + [0.1]))
    assert model.semantic_head == dict(num_things_classes=5, num_stuff_classes=2)
    assert model.panoptic_head.num_things_classes == 5
    assert 'num_stuff_classes' not in model.panoptic_head
    assert model.panoptic_head.loss_cls.class_weight == [1.0] * 8  # 7 and "no object"
    assert (model.roi_heads.num_classes, model.neck) == (7, dict(out_channels=5))


def test_output_channels_of_a_segmentor_follow():
    model = Config(dict(head=dict(num_classes=4, out_channels=4)))
    set_classes(model._cfg_dict, 3, 0, 'mmdet')  # where they are the width of a neck, say
    assert model.head == dict(num_classes=3, out_channels=4)
    model = Config(dict(head=dict(num_classes=4, out_channels=4)))
    set_classes(model._cfg_dict, 3, 0, 'mmseg')
    assert model.head == dict(num_classes=3, out_channels=3)
    model = Config(dict(head=dict(num_classes=2, out_channels=1)))
    set_classes(model._cfg_dict, 2, 0, 'mmseg')
    assert model.head == dict(num_classes=2, out_channels=1)
