# A small Mask R-CNN that learns from random weights in minutes on a CPU, for small data of your
# own: atto backbone, 64-channel neck and heads, few proposals. All values are our choice.
_base_ = './mask-rcnn_convnext_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(arch='atto', drop_path_rate=0.0),
    # From random weights, neck and mask head learn faster with a norm (arXiv 1811.08883).
    neck=dict(
        in_channels=[40, 80, 160, 320],
        out_channels=64,
        norm_cfg=dict(type='GN', num_groups=16),
    ),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        # One sample a bin: bins of small objects are about a pixel, and steps a fifth faster.
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        bbox_head=dict(in_channels=64, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=1)),
        mask_head=dict(
            in_channels=64, conv_out_channels=64, norm_cfg=dict(type='GN', num_groups=16)
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=500), rcnn=dict(sampler=dict(num=128))),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='RandomFlip', prob=0.75, direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type='OptimWrapper',  # mixed precision needs a GPU; only our tools turn it off without one
    optimizer=dict(lr=6e-4),
    # All layers start from random weights, so none gets a smaller rate.
    paramwise_cfg=dict(decay_rate=1.0),
)
auto_scale_lr = dict(base_batch_size=2)
max_epochs = 30
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=10, max_keep_ckpts=2))
