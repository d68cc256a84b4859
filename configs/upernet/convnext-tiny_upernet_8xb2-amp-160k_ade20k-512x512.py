# UPerNet ConvNeXt-T, from ImageNet-1K, non-EMA: 46.0 mIoU, 46.7 multi-scale and flipped.
_base_ = '../_base_/upernet_convnext_160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
