# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mm2/compose.py: whole configs of mmdet 2 and mmseg 0.x, in the style of Meta's forks."""

import pytest
from mmengine.config import Config

from mmconvnext.migrate.migration import migrate

BACKBONE = """dict(
    type='ConvNeXt', in_chans=3, depths=[3, 3, 9, 3], dims=[96, 192, 384, 768],
    drop_path_rate=0.4, layer_scale_init_value=1.0, out_indices=[0, 1, 2, 3])"""
NORM = 'dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)'
AMP = (
    "optimizer_config = dict(type='DistOptimizerHook', use_fp16=True, grad_clip=None)\nfp16 = None"
)
UPERNET = f"""
norm_cfg = dict(type='SyncBN', requires_grad=True)
loss = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
model = dict(
    type='EncoderDecoder', pretrained=None, backbone={BACKBONE},
    decode_head=dict(
        type='UPerHead', in_channels=[96, 192, 384, 768], in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6), channels=512, dropout_ratio=0.1, num_classes=150,
        norm_cfg=norm_cfg, align_corners=False, loss_decode=loss),
    auxiliary_head=dict(
        type='FCNHead', in_channels=384, in_index=2, channels=256, num_convs=1,
        concat_input=False, dropout_ratio=0.1, num_classes=150, norm_cfg=norm_cfg,
        align_corners=False, loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
img_norm_cfg = {NORM}
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', img_scale=(2048, 512), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=(512, 512), pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(2048, 512), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg), dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])]),
]
root = dict(type='ADE20KDataset', data_root='data/ade/ADEChallengeData2016')
valid = dict(img_dir='images/validation', ann_dir='annotations/validation', pipeline=test_pipeline)
data = dict(
    samples_per_gpu=2, workers_per_gpu=4,
    train=dict(
        img_dir='images/training', ann_dir='annotations/training', pipeline=train_pipeline, **root),
    val=dict(**root, **valid), test=dict(**root, **valid))
optimizer = dict(
    constructor='LearningRateDecayOptimizerConstructor', type='AdamW', lr=1e-4,
    betas=(0.9, 0.999), weight_decay=0.05,
    paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise', num_layers=6))
lr_config = dict(
    policy='poly', warmup='linear', warmup_iters=1500, warmup_ratio=1e-6, power=1.0, min_lr=0.0,
    by_epoch=False)
runner = dict(type='IterBasedRunnerAmp', max_iters=160000)
{AMP}
fp16 = None
checkpoint_config = dict(by_epoch=False, interval=16000)
evaluation = dict(interval=16000, metric='mIoU')
log_config = dict(interval=50, hooks=[dict(type='CustomizedTextLoggerHook', by_epoch=False)])
cudnn_benchmark = True
"""
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
"""


def test_metas_upernet_is_named_as_our_recipe_and_trains(
    write, tmp_path, step, segmentation_inputs, proven
):
    out = tmp_path / 'out.py'
    result = migrate(write(UPERNET), out)
    proven(result)
    assert not result.notes.lost
    assert any(
        line.startswith('this is our recipe') and 'convnext-tiny_upernet_8xb2' in line
        for line in result.notes.look
    )
    out.write_text(result.text)
    assert len(result.text.splitlines()) < 50
    assert 0 < step(out, segmentation_inputs) < float('inf')


def test_a_detector_of_mmdet_2(write, tmp_path, proven):
    out = tmp_path / 'out.py'
    result = migrate(write(RETINANET), out)
    proven(result)
    assert [line.split(':')[0] for line in result.notes.lost] == ['custom hook NoSuchHook']
    assert any('acts on the whole backbone' in line for line in result.notes.look)
    assert any('of norms that it builds and never uses' in line for line in result.proof) or any(
        "Meta's but 192 of norms" in line for line in result.proof
    )
    out.write_text(result.text)
    cfg = Config.fromfile(str(out))
    assert cfg.model.backbone.type == 'mmconvnext.ConvNeXt'
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.train_dataloader.dataset.metainfo.classes == ('a', 'b', 'c')
    assert cfg.train_cfg.max_epochs == 12 and cfg.train_cfg.val_interval == 2
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=35, norm_type=2)
    assert cfg.val_evaluator.ann_file == 'v.json'


@pytest.mark.parametrize('missing', ['runner', 'data'])
def test_nothing_is_invented(missing, write, tmp_path):
    text = UPERNET.replace(f'\n{missing} = ', f'\nunused_{missing} = ')
    if missing == 'runner':
        with pytest.raises(ValueError, match='says no length'):
            migrate(write(text), tmp_path / 'out.py')
    else:
        lost = migrate(write(text), tmp_path / 'out.py').notes.lost
        assert any(line.startswith('data.train') for line in lost)
