# Cascade Mask R-CNN ConvNeXt-B 3x, from ImageNet-22K: 54.0 box AP, 46.9 mask AP.
_base_ = '../_base_/cascade-mask-rcnn_convnext_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.6,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth',
        ),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.8),
)
