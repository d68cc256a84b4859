# Cascade Mask R-CNN ConvNeXt-XL 3x, from ImageNet-22K: 55.2 box AP, 47.7 mask AP.
_base_ = '../_base_/cascade-mask-rcnn_convnext_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(
        arch='xlarge',
        drop_path_rate=0.8,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth',
        ),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
optim_wrapper = dict(
    type='OptimWrapper',  # official: use_fp16=False for L and XL
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.7),
)
