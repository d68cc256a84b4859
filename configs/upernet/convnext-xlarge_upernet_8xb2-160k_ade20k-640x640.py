# UPerNet ConvNeXt-XL, from ImageNet-22K: 53.6 mIoU, 54.0 multi-scale and flipped.
_base_ = '../_base_/upernet_convnext_160k_ade20k-640x640.py'

model = dict(
    backbone=dict(
        arch='xlarge',
        drop_path_rate=0.4,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
optim_wrapper = dict(
    type='OptimWrapper',  # official: use_fp16=False for L and XL
    optimizer=dict(lr=8e-5),
)
