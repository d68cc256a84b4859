# A small segmentor that learns from random weights in minutes on a CPU, for small data of your own:
# atto backbone, and SegFormer's head of 1x1 convolutions (arXiv 2105.15203) with 64 channels.
# All values are our choice.
_base_ = './upernet_convnext_160k_ade20k-512x512.py'

crop_size = (256, 256)
data_preprocessor = dict(size=crop_size, test_cfg=dict(size_divisor=32))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(arch='atto', drop_path_rate=0.0),
    decode_head=dict(
        _delete_=True,
        type='SegformerHead',
        in_channels=[40, 80, 160, 320],
        in_index=[0, 1, 2, 3],
        channels=64,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='GN', num_groups=16),  # batches are small
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=None,
    test_cfg=dict(_delete_=True, mode='whole'),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(1024, 256), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1].update(scale=(1024, 256))
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(4 * side, side), keep_ratio=True)
    for side in (128, 192, 256, 320, 384, 448)
]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type='OptimWrapper',  # mixed precision needs a GPU; only our tools turn it off without one
    optimizer=dict(lr=1e-3),
    # All layers start from random weights, so none gets a smaller rate.
    paramwise_cfg=dict(decay_rate=1.0),
)
auto_scale_lr = dict(base_batch_size=4)
max_iters = 1000
train_cfg = dict(max_iters=max_iters, val_interval=250)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, T_max=max_iters),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=250, max_keep_ckpts=2))
