# The changes of all COCO recipes to mmdet's: the backbone and its learning rates come from this
# package, and the warm-up is the official one. Two bases must not define the same key, so the
# changes are kept under one name until a recipe applies them:
#
#     _base_ = ['mmdet::convnext/<recipe>', './convnext_coco.py']
#     locals().update(_base_.pop('changes'))
changes = dict(
    custom_imports=dict(imports=['mmconvnext'], allow_failed_imports=False),
    checkpoint_file=None,  # mmdet's recipe sets it; here each leaf names its file in init_cfg
    model=dict(
        backbone=dict(
            _delete_=True,
            type='mmconvnext.ConvNeXt',
            # 1.0 in all official dense configs (1e-6 in classification). Loading replaces it.
            layer_scale_init_value=1.0,
        )
    ),
    optim_wrapper=dict(
        constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(_delete_=True, decay_type='layer_wise'),
    ),
    # The official configs inherit mmdet 2's schedule_1x: linear warm-up over 500 iterations from
    # 0.001. mmdet 3's own ports warm up for 1000.
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
    ],
)
