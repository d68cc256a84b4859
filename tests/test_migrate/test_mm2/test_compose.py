# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mm2/compose.py: whole configs of mmdet 2 and mmseg 0.x, in the style of Meta's forks."""

import pytest
from mmengine.config import Config

from mmconvnext.migrate.migration import migrate
from mmconvnext.recipe.errors import RecipeError

BACKBONE = """dict(
    type='ConvNeXt', in_chans=3, depths=[3, 3, 9, 3], dims=[96, 192, 384, 768],
    drop_path_rate=0.4, layer_scale_init_value=1.0, out_indices=[0, 1, 2, 3])"""
NORM = 'dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)'
RETINANET = f"""
model = dict(
    type='RetinaNet', pretrained=None,
    backbone={BACKBONE.replace('[0, 1, 2, 3]', '[1, 2, 3]')},
    neck=dict(
        type='FPN', in_channels=[192, 384, 768], out_channels=256, start_level=0,
        add_extra_convs='on_input', num_outs=5),
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=256, stacked_convs=4, feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0,
            ignore_iof_thr=-1),
        allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=100))
steps = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5), dict(type='Normalize', **{NORM}),
    dict(type='Pad', size_divisor=32), dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels'])]
mine = dict(type='CocoDataset', classes=('a', 'b', 'c'), pipeline=steps)
data = dict(
    samples_per_gpu=4, workers_per_gpu=2, train=dict(ann_file='t.json', img_prefix='t/', **mine),
    val=dict(ann_file='v.json', img_prefix='v/', **mine))
optimizer = dict(
    type='AdamW', lr=1e-4, weight_decay=0.05, paramwise_cfg=dict(
        custom_keys=dict(backbone=dict(lr_mult=0.1))))
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
total_epochs = 12
evaluation = dict(metric='bbox', interval=2)
custom_hooks = [dict(type='NoSuchHook')]
custom_imports = dict(imports=['mmcls.models', 'json'])
"""


def test_a_detector_of_mmdet_2(write, tmp_path):
    out = tmp_path / 'out.py'
    result = migrate(write(RETINANET), out)
    assert 'of which 192 are for norms that it never uses' in result.proof[0]
    assert 'learning rate and weight decay of all' in result.proof[-1]
    assert [line.split(':')[0] for line in result.notes.lost] == ['custom hook NoSuchHook']
    assert any("modules ['json'] in custom_imports were" in line for line in result.notes.look)
    assert any('applies to the whole backbone' in line for line in result.notes.look)
    out.write_text(result.text)
    cfg = Config.fromfile(str(out))
    assert cfg.model.backbone.type == 'mmconvnext.ConvNeXt'
    assert cfg.custom_imports.imports == ['json', 'mmconvnext']
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.train_dataloader.dataset.metainfo.classes == ('a', 'b', 'c')
    assert cfg.train_cfg.max_epochs == 12 and cfg.train_cfg.val_interval == 2
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=35, norm_type=2)
    assert cfg.val_evaluator.ann_file == 'v.json'


@pytest.mark.parametrize(
    ('missing', 'match'),
    [
        ('total_epochs', 'mine.py: the length of training is missing'),
        ('optimizer', 'mine.py: optimizer is missing; if it is in a missing base, use --bases'),
    ],
)
def test_nothing_is_invented(missing, match, write, tmp_path):
    with pytest.raises(RecipeError, match=match):
        migrate(write(RETINANET.replace(f'\n{missing} = ', '\nunused = ')), tmp_path / 'out.py')


def test_a_config_without_data_says_so(write, tmp_path):
    text = RETINANET.replace('\ndata = ', '\nunused = ')
    lost = migrate(write(text), tmp_path / 'out.py').notes.lost
    assert any(line.startswith('data.train') for line in lost)
