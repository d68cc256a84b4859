# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mm2/model.py: heads stay, the preprocessor is added, what cannot be rewritten is refused."""

import pytest

from mmconvnext.migrate.mm2.model import renewed_model, task_of
from mmconvnext.migrate.notes import Notes
from mmconvnext.recipe.errors import RecipeError


def test_tasks():
    assert task_of(dict(model=dict(type='EncoderDecoder'))) == 'mmseg'
    assert task_of(dict(model=dict(type='Mine', decode_head={}))) == 'mmseg'
    assert task_of(dict(model=dict(type='MaskRCNN'))) == 'mmdet'


def test_a_detector():
    cfg = dict(model=dict(type='CascadeMaskRCNN', pretrained=None, neck=dict(type='FPN')))
    cfg['train_cfg'] = dict(rpn=1)  # where mmdet had it before 2.5
    notes = Notes()
    model = renewed_model(cfg, dict(mean=[1.0]), 'mmdet', notes)
    assert model == dict(
        type='CascadeRCNN',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[1.0]),
        neck=dict(type='FPN'),
        train_cfg=dict(rpn=1),
    )
    assert "'CascadeMaskRCNN' became 'CascadeRCNN'" in notes.changed[0]


def test_random_sizes_are_named():
    notes = Notes()
    model = renewed_model(dict(model=dict(type='YOLOX', input_size=(1, 2))), {}, 'mmdet', notes)
    assert 'input_size' not in model and 'model.input_size=(1, 2)' in notes.lost[0]


def test_costs_of_a_matching_are_a_list():
    own = dict(type='FocalLossCost', weight=2.0)
    assigner = dict(type='HungarianAssigner', cls_cost=own)
    cfg = dict(model=dict(type='SparseRCNN', train_cfg=dict(rcnn=[dict(assigner=assigner)])))
    model = renewed_model(cfg, {}, 'mmdet', notes := Notes())
    costs = [
        own,
        dict(type='BBoxL1Cost', weight=1.0),
        dict(type='IoUCost', iou_mode='giou', weight=1.0),
    ]
    (renewed,) = model['train_cfg']['rcnn']
    assert renewed['assigner'] == dict(type='HungarianAssigner', match_costs=costs)
    assert notes.changed == ['HungarianAssigner: cls_cost, reg_cost, iou_cost became match_costs']


@pytest.mark.parametrize('key', ['transformer', 'transformerlayers'])
def test_transformers_are_refused_with_the_way_out(key):
    cfg = dict(model=dict(type='MaskFormer', bbox_head={key: dict(type='T')}))
    with pytest.raises(RecipeError, match="type='MaskFormer': .* Start from mmdet 3's own config"):
        renewed_model(cfg, {}, 'mmdet', Notes())
