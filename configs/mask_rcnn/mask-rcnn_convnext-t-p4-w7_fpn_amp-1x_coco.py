# Mask R-CNN ConvNeXt-T 1x at a single scale: our own shorter recipe, without a published result.
_base_ = './mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'

# The official configs train 3x only. 1x needs less regularization; 0.2 is our choice.
model = dict(backbone=dict(drop_path_rate=0.2))

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# mmdet's 1x: 12 epochs, steps at 8 and 11.
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
