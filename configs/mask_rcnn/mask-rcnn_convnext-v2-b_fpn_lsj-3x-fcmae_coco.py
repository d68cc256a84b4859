# Mask R-CNN ConvNeXt V2-B, large-scale jitter 3x, from FCMAE: 52.9 box AP, 46.4 mask AP are the
# figures of mmdet's project, which released no weights. Official configs were never published:
# learning rate, decay and drop path below are that project's choice within the paper's sweep.
_base_ = '../_base_/mask-rcnn_convnext_lsj-3x_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        version='v2',
        layer_scale_init_value=None,
        drop_path_rate=0.4,  # not published
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/'
            'convnextv2/pt_only/convnextv2_base_1k_224_fcmae.pt',  # CC BY-NC 4.0
        ),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),  # not published
    paramwise_cfg=dict(decay_rate=0.95),  # not published
)
