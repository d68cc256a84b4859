# UPerNet ConvNeXt-B, from ImageNet-22K: 52.6 mIoU, 53.1 multi-scale and flipped.
_base_ = '../_base_/upernet_convnext_160k_ade20k-640x640.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.4,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
