# UPerNet with ConvNeXt on ADE20K at 640x640: heads, data and sliding-window test are mmseg's own
# recipe. Changed: the backbone and its learning rates come from this package, the polynomial decay
# begins at iteration 0, as in the official configs. Normal scale: 8 GPUs x 2 images. A leaf states
# arch, channels, weights, drop path and learning rate.
#
# The path is spelt out because mmengine cannot resolve 'mmseg::' where mmseg is installed under
# another distribution name, as in the onedl stack.
_base_ = (
    __import__('mmseg').__path__[0]
    + '/.mim/configs/convnext/convnext-base_upernet_8xb2-amp-160k_ade20k-640x640.py'
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
    _delete_=True,
    type='AmpOptimWrapper',
    constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', betas=(0.9, 0.999), weight_decay=0.05),
    # stage_wise as published, with its quirk: all downsampling layers share the stem's rate.
    paramwise_cfg=dict(decay_type='stage_wise', decay_rate=0.9),
)

# The official schedule decays during the warm-up too (mmseg's port only starts after it).
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=160000),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)

# --tta: the published "ms+flip" figures are whole-image, multi-scale and flipped, where the
# single-scale ones slide a window (official _ms and _ss configs, mmseg 0's --aug-test). mmseg 1's
# own tta_pipeline scales the image's size instead of 2560x640.
tta_model = dict(type='SegTTAModel')
tta_test_cfg = dict(mode='whole')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=scale, keep_ratio=True)
                for scale in [
                    (1280, 320),
                    (1920, 480),
                    (2560, 640),
                    (3200, 800),
                    (3840, 960),
                    (4480, 1120),
                ]
            ],
            [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
