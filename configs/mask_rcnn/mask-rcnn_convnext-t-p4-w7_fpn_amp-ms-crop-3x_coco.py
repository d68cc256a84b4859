# Mask R-CNN ConvNeXt-T 3x, from ImageNet-1K, non-EMA: 46.2 box AP, 41.7 mask AP.
_base_ = '../_base_/mask-rcnn_convnext_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth',
        ),
    ),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.95),
)
