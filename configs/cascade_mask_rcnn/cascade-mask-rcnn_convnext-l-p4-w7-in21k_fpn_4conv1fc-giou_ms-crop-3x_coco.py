# Cascade Mask R-CNN ConvNeXt-L 3x, from ImageNet-22K: 54.8 box AP, 47.6 mask AP.
_base_ = '../_base_/cascade-mask-rcnn_convnext_ms-crop-3x_coco.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.7,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth',
        ),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
optim_wrapper = dict(
    type='OptimWrapper',  # official: use_fp16=False for L and XL
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(decay_rate=0.7),
)
