# UPerNet ConvNeXt-L, from ImageNet-22K: 53.2 mIoU, 53.7 multi-scale and flipped.
_base_ = '../_base_/upernet_convnext_160k_ade20k-640x640.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.4,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
optim_wrapper = dict(
    type='OptimWrapper',  # official: use_fp16=False for L and XL
    optimizer=dict(lr=1e-4),
)
