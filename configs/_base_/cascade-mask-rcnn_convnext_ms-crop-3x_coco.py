# Cascade Mask R-CNN (4conv1fc boxes, GIoU, SyncBN) with ConvNeXt on COCO: heads, data, multi-scale
# crop augmentation and 3x schedule are mmdet's own recipe. Changed: the backbone and its learning
# rates come from this package, and the warm-up is the official one. Normal scale: 8 GPUs x 2
# images. A leaf states arch, weights, drop path, learning rate and decay.
_base_ = (
    'mmdet::convnext/cascade-mask-rcnn_convnext-t-p4-w7_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py'
)

custom_imports = dict(_delete_=True, imports=['mmconvnext'], allow_failed_imports=False)
checkpoint_file = None  # a left-over of the base: each leaf names its file in init_cfg

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmconvnext.ConvNeXt',
        # 1.0 in all official dense configs (1e-6 in classification); the files bring their own.
        layer_scale_init_value=1.0,
    )
)

optim_wrapper = dict(
    constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, decay_type='layer_wise'),
)

# The official configs inherit mmdet 2's schedule_1x: linear over 500 iterations from 0.001 (mmdet
# 3's port has 1000).
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
