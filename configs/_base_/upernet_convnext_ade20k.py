# The changes of both UPerNet recipes to mmseg's: the backbone and its learning rates come from
# this package, and the polynomial decay starts at iteration 0, as in the official configs. Made for
# 8 GPUs with 2 images each. A leaf config sets the size, channels, weights, drop path and learning
# rate. Recipes apply `changes` as in convnext_coco.py.
changes = dict(
    custom_imports=dict(imports=['mmconvnext'], allow_failed_imports=False),
    checkpoint_file=None,  # mmseg's recipe sets it; here each leaf names its file in init_cfg
    model=dict(
        backbone=dict(
            _delete_=True,
            type='mmconvnext.ConvNeXt',
            # 1.0 in all official dense configs (1e-6 in classification). Loading replaces it.
            layer_scale_init_value=1.0,
        )
    ),
    optim_wrapper=dict(
        _delete_=True,
        type='AmpOptimWrapper',
        constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.05),
        # stage_wise as published, with its quirk: all downsampling layers share the stem's rate.
        paramwise_cfg=dict(decay_type='stage_wise', decay_rate=0.9),
    ),
    # The official schedule decays during the warm-up too; mmseg's port starts after it.
    param_scheduler=[
        dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
        dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=160000),
    ],
    auto_scale_lr=dict(enable=False, base_batch_size=16),
    # --tta: the published "ms+flip" figures are of whole images, at six scales and flipped; the
    # single-scale ones slide a window (official _ms and _ss configs, mmseg 0's --aug-test). mmseg
    # 1's own tta_pipeline scales the size of the image; the official configs scale the size of the
    # test pipeline. The recipe of each crop size fills in these scales, 0.5 to 1.75.
    tta_model=dict(type='SegTTAModel'),
    tta_test_cfg=dict(mode='whole'),
    tta_pipeline=[
        dict(type='LoadImageFromFile'),
        dict(
            type='TestTimeAug',
            transforms=[
                [],  # the scales
                [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
                [dict(type='LoadAnnotations')],
                [dict(type='PackSegInputs')],
            ],
        ),
    ],
)
