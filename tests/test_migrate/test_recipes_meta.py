# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Meta's 13 dense recipes, as written for its forks of mmdet 2 and mmseg 0.x, are recognised.

Sources: object_detection/configs/convnext and semantic_segmentation/configs/convnext of
facebookresearch/ConvNeXt. What its configs share with the shipped models is taken from those.
"""

import pytest

from mmconvnext.arch import get_arch
from mmconvnext.migrate.migration import migrate
from mmconvnext.migrate.source import shipped
from mmconvnext.migrate.write import format_config, merged

CASCADE = 'cascade-mask-rcnn_convnext-{}_fpn_4conv1fc-giou_{}ms-crop-3x_coco'
UPERNET = 'convnext-{}_upernet_8xb2-{}160k_ade20k-{}x{}'
# Size, drop path, learning rate, decay, fp16, and our name.
DETECTORS = [
    ('tiny', 0.4, 1e-4, 0.95, True, 'mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco'),
    ('tiny', 0.4, 2e-4, 0.7, True, CASCADE.format('t-p4-w7', 'amp-')),
    ('small', 0.6, 2e-4, 0.7, True, CASCADE.format('s-p4-w7', 'amp-')),
    ('base', 0.7, 2e-4, 0.8, True, CASCADE.format('b-p4-w7', 'amp-')),
    ('base', 0.6, 1e-4, 0.8, True, CASCADE.format('b-p4-w7-in21k', 'amp-')),
    ('large', 0.7, 1e-4, 0.7, False, CASCADE.format('l-p4-w7-in21k', '')),
    ('xlarge', 0.8, 1e-4, 0.7, False, CASCADE.format('xl-p4-w7-in21k', '')),
]
# Size, drop path, learning rate, fp16, crop.
SEGMENTORS = [
    ('tiny', 0.4, 1e-4, True, 512),
    ('small', 0.3, 1e-4, True, 512),
    ('base', 0.4, 1e-4, True, 512),
    ('base', 0.4, 1e-4, True, 640),
    ('large', 0.4, 1e-4, False, 640),
    ('xlarge', 0.4, 8e-5, False, 640),
]
NORMALIZE = dict(
    type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
)
PACK = [dict(type='DefaultFormatBundle'), dict(type='Collect', keys=['img'])]


def leaf(project, base, size, drop_path, rate, fp16, paramwise):
    """The common settings, on top of a shipped model without what mmcv 1 had elsewhere."""
    model = merged([shipped()[project] / '_base_' / 'models' / base])['model']
    del model['data_preprocessor']
    row = get_arch(size)
    model['backbone'] = dict(
        type='ConvNeXt',
        in_chans=3,
        depths=list(row.depths),
        dims=list(row.channels),
        drop_path_rate=drop_path,
        layer_scale_init_value=1.0,
        out_indices=[0, 1, 2, 3],
    )
    return dict(
        model=model,
        optimizer=dict(
            constructor='LearningRateDecayOptimizerConstructor',
            type='AdamW',
            lr=rate,
            betas=(0.9, 0.999),
            weight_decay=0.05,
            paramwise_cfg={**paramwise, 'num_layers': 6 if size == 'tiny' else 12},
        ),
        fp16=None,
        optimizer_config=dict(
            type='DistOptimizerHook', update_interval=1, grad_clip=None, use_fp16=fp16
        ),
    )


def resize(*shorts):
    scales = [(short, 1333) for short in shorts]
    return dict(type='Resize', img_scale=scales, multiscale_mode='value', keep_ratio=True)


def detector(size, drop_path, rate, decay, fp16, name):
    head = name.partition('_')[0]
    paramwise = dict(decay_rate=decay, decay_type='layer_wise')
    cfg = leaf('mmdet', f'{head}_r50_fpn.py', size, drop_path, rate, fp16, paramwise)
    cfg['model']['neck']['in_channels'] = cfg['model']['backbone']['dims']
    if head.startswith('cascade'):
        for box_head in cfg['model']['roi_head']['bbox_head']:
            box_head.update(
                type='ConvFCBBoxHead',
                num_shared_convs=4,
                num_shared_fcs=1,
                conv_out_channels=256,
                reg_class_agnostic=False,
                reg_decoded_bbox=True,
                norm_cfg=dict(type='SyncBN', requires_grad=True),
                loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
            )
    shorts = range(480, 801, 32)
    crop = dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600))
    crop['allow_negative_crop'] = True
    policies = [[resize(*shorts)], [resize(400, 500, 600), crop, resize(*shorts)]]
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='RandomFlip', flip_ratio=0.5),
        dict(type='AutoAugment', policies=policies),
        NORMALIZE,
        dict(type='Pad', size_divisor=32),
        *PACK,
    ]
    train = dict(type='CocoDataset', ann_file='a.json', img_prefix='a/', pipeline=steps)
    warmup = dict(warmup='linear', warmup_iters=500, warmup_ratio=0.001)
    return dict(
        **cfg,
        data=dict(samples_per_gpu=2, workers_per_gpu=2, train=train),
        lr_config=dict(policy='step', step=[27, 33], **warmup),
        runner=dict(type='EpochBasedRunnerAmp', max_epochs=36),
    )


def segmentor(size, drop_path, rate, fp16, crop):
    paramwise = dict(decay_rate=0.9, decay_type='stage_wise')
    cfg = leaf('mmseg', 'upernet_convnext.py', size, drop_path, rate, fp16, paramwise)
    dims = cfg['model']['backbone']['dims']
    cfg['model']['decode_head'].update(in_channels=dims, num_classes=150)
    cfg['model']['auxiliary_head'].update(in_channels=dims[2], num_classes=150)
    stride = crop * 2 // 3
    cfg['model']['test_cfg'] = dict(mode='slide', crop_size=(crop, crop), stride=(stride, stride))
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', reduce_zero_label=True),
        dict(type='Resize', img_scale=(2048 * crop // 512, crop), ratio_range=(0.5, 2.0)),
        dict(type='RandomCrop', crop_size=(crop, crop), cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        NORMALIZE,
        dict(type='Pad', size=(crop, crop), pad_val=0, seg_pad_val=255),
        *PACK,
    ]
    train = dict(type='ADE20KDataset', img_dir='a', ann_dir='b', pipeline=steps)
    warmup = dict(warmup='linear', warmup_iters=1500, warmup_ratio=1e-6)
    return dict(
        **cfg,
        data=dict(samples_per_gpu=2, workers_per_gpu=4, train=train),
        lr_config=dict(policy='poly', power=1.0, min_lr=0.0, by_epoch=False, **warmup),
        runner=dict(type='IterBasedRunnerAmp', max_iters=160000),
    )


CASES = [(detector(*row), row[-1]) for row in DETECTORS] + [
    (segmentor(*row), UPERNET.format(row[0], 'amp-' if row[3] else '', row[4], row[4]))
    for row in SEGMENTORS
]


@pytest.mark.parametrize(('cfg', 'name'), CASES, ids=[name for _, name in CASES])
def test_a_recipe_of_meta_is_ours(cfg, name, write, tmp_path, proven):
    result = migrate(write(format_config(cfg)), tmp_path / 'out.py')
    (line,) = [line for line in result.notes.look if 'recipe' in line]
    assert line.startswith('the config is the same as our recipe') and f'/{name}.py' in line
    assert not result.notes.lost
    assert not any('custom_imports' in line for line in result.notes.changed)  # it had none
    proven(result)
