# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the backbone and the constructor plug into any MM project, by name only.

Tests that depend on earlier imports run in a process that has imported torch and mmengine only.
"""

import mmengine
import numpy as np
import processes
import pytest
import torch
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmconvnext import registry

ARCH = dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64])
BACKBONE = dict(type='mmconvnext.ConvNeXt', arch=ARCH, layer_scale_init_value=1.0)
OPTIM_WRAPPER = dict(
    type='OptimWrapper',
    constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise'),
)

# --- names ----------------------------------------------------------------------------------------

PREAMBLE = f"""
import sys
from torch import nn
from mmengine.registry import MODELS as ROOT, OPTIM_WRAPPER_CONSTRUCTORS as ROOT_CONSTRUCTORS
from mmengine.registry import DefaultScope, Registry
from mmengine.optim import build_optim_wrapper

BACKBONE = {BACKBONE!r}
OPTIM_WRAPPER = {OPTIM_WRAPPER!r}


def is_ours(model):
    return type(model).__module__ == 'mmconvnext.models.convnext'


def check(registry, backbone, wrapper):
    model = nn.ModuleDict(dict(backbone=registry.build(backbone)))
    assert is_ours(model['backbone'])
    groups = build_optim_wrapper(model, wrapper).optimizer.param_groups
    assert len({{group['lr'] for group in groups}}) == 6

"""


def run(code: str) -> None:
    result = processes.run(PREAMBLE + code)
    assert result.returncode == 0, result.stderr


def test_full_names_build_from_the_root_and_any_child_without_an_import():
    run("""
assert 'mmconvnext' not in sys.modules
MINE = Registry('model', parent=ROOT, scope='myproject')
check(MINE, BACKBONE, OPTIM_WRAPPER)
check(ROOT, BACKBONE, OPTIM_WRAPPER)
from mmengine.registry import DATASETS
assert 'mmconvnext.recipe' not in sys.modules
assert DATASETS.get('mmconvnext.ImageFolder').__module__ == 'mmconvnext.recipe.image_folder'
""")


def test_registries_give_the_classes():
    run("""
import mmconvnext
from mmseg.registry import MODELS

for registry in (ROOT, MODELS):
    assert registry.get('mmconvnext.ConvNeXt') is mmconvnext.ConvNeXt
constructor = ROOT_CONSTRUCTORS.get('mmconvnext.LayerDecayOptimWrapperConstructor')
assert constructor is mmconvnext.LayerDecayOptimWrapperConstructor
""")


@pytest.mark.parametrize(
    'name',
    [
        'MODELS',
        'MODEL_WRAPPERS',
        'DATASETS',
        'TRANSFORMS',
        'OPTIM_WRAPPER_CONSTRUCTORS',
        'VISBACKENDS',
    ],
)
def test_registries_are_children_of_mmengines(name):
    ours, root = getattr(registry, name), getattr(mmengine.registry, name)
    assert (ours.name, ours.scope, ours.parent) == (root.name, 'mmconvnext', root)
    assert root.children['mmconvnext'] is ours


def test_custom_imports_do_no_harm():
    run("""
from mmengine import Config
Config.fromstring("custom_imports = dict(imports=['mmconvnext'])", '.py')
MINE = Registry('model', parent=ROOT, scope='myproject')
check(MINE, BACKBONE, OPTIM_WRAPPER)
check(ROOT, BACKBONE, OPTIM_WRAPPER)
""")


@pytest.mark.parametrize('package', ['mmdet', 'mmseg'])
def test_names_build_in_the_scope_of(package):
    run(f"""
from {package}.registry import MODELS

with DefaultScope.overwrite_default_scope({package!r}):
    assert 'mmconvnext' not in sys.modules
    check(MODELS, BACKBONE, OPTIM_WRAPPER)
""")


@pytest.mark.parametrize('when', ['before', 'after'])
def test_the_plain_names_are_everybodys(when):
    """In the root registries, which must stay free of our names, and in a child."""
    use_ours = 'import mmconvnext; check(ROOT, BACKBONE, OPTIM_WRAPPER)'
    run(f"""
{use_ours if when == 'after' else ''}
assert 'ConvNeXt' not in ROOT.module_dict
THEIRS = Registry('model', parent=ROOT, scope='mmpretrain', locations=[])


@ROOT.register_module()
@THEIRS.register_module()
class ConvNeXt(nn.Module):
    pass


@ROOT_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor:
    pass


{use_ours}
MINE = Registry('model', parent=ROOT, scope='myproject')
for registry, name in ((ROOT, ''), (THEIRS, ''), (MINE, ''), (MINE, 'mmpretrain.')):
    assert registry.get(name + 'ConvNeXt') is ConvNeXt
found = ROOT_CONSTRUCTORS.get('LayerDecayOptimWrapperConstructor')
assert found is LayerDecayOptimWrapperConstructor
check(THEIRS, BACKBONE, OPTIM_WRAPPER)
""")


# --- in models that are not ours ------------------------------------------------------------------


def build_model(config: dict, scope: str) -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(config)
        model.init_weights()
    return model.train()


def assert_one_step_trains(model: nn.Module, data: dict) -> None:
    """The loss is finite, every trainable parameter has a gradient, and a step trains the model."""
    wrapper = build_optim_wrapper(model, OPTIM_WRAPPER)
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    data = model.data_preprocessor(data, training=True)
    loss, log = model.parse_losses(model(**data, mode='loss'))
    assert torch.isfinite(loss) and loss > 0, log
    wrapper.update_params(loss)
    backbone = {name: p for name, p in model.named_parameters() if name.startswith('backbone.')}
    assert [name for name, param in backbone.items() if not torch.equal(param, before[name])] == [
        name for name, param in backbone.items() if param.requires_grad
    ]
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved - set(backbone)


def detection_data() -> dict:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    sample = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[4.0, 6.0, 40.0, 50.0], [20.0, 10.0, 60.0, 30.0]]),
        labels=torch.tensor([0, 2]),
        masks=BitmapMasks(np.ones((2, 64, 64), np.uint8), 64, 64),
    )
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=[sample, sample.clone()])


DET_PREPROCESSOR = dict(
    type='DetDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    pad_size_divisor=32,
)
NECK = dict(
    type='FPN',
    in_channels=ARCH['channels'],
    out_channels=16,
    start_level=1,
    add_extra_convs='on_output',
    num_outs=5,
)
RETINANET = dict(
    type='RetinaNet',
    data_preprocessor=DET_PREPROCESSOR,
    backbone=BACKBONE,
    neck=NECK,
    bbox_head=dict(
        type='RetinaHead',
        num_classes=3,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
    ),
)
FCOS = dict(
    type='FCOS',
    data_preprocessor=DET_PREPROCESSOR,
    backbone=BACKBONE,
    neck=NECK,
    bbox_head=dict(
        type='FCOSHead',
        num_classes=3,
        in_channels=16,
        feat_channels=16,
        stacked_convs=1,
        norm_cfg=dict(type='GN', num_groups=4),
    ),
)


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('config', [RETINANET, FCOS], ids=lambda config: config['type'])
def test_detectors_of_mmdet_train(config, version):
    backbone = dict(BACKBONE, version=version)
    if version == 'v2':
        backbone.pop('layer_scale_init_value')
    backbone['out_indices'] = (1, 2, 3)
    neck = dict(config['neck'], in_channels=ARCH['channels'][1:], start_level=0)
    model = build_model(dict(config, backbone=backbone, neck=neck), 'mmdet')
    assert_one_step_trains(model, detection_data())


def test_mask2former_of_mmdet_trains():
    """Its shipped recipe with only the backbone replaced, and fewer decoder layers."""
    config = get_config('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py').model
    config.backbone = BACKBONE
    config.data_preprocessor.batch_augments = None  # it pads to 1024x1024
    config.panoptic_head.in_channels = ARCH['channels']
    config.panoptic_head.pixel_decoder.encoder.num_layers = 1
    config.panoptic_head.transformer_decoder.num_layers = 1
    assert_one_step_trains(build_model(config, 'mmdet'), detection_data())


def segmentation_data() -> dict:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)))
    sample.gt_sem_seg = PixelData(data=torch.randint(0, 4, (1, 64, 64)))
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=[sample, sample.clone()])


HEAD = dict(
    channels=16,
    num_classes=4,
    norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False),
)
FCN_HEAD = dict(HEAD, type='FCNHead', in_channels=64, in_index=3, num_convs=1)
SEGFORMER_HEAD = dict(
    HEAD, type='SegformerHead', in_channels=ARCH['channels'], in_index=[0, 1, 2, 3]
)


@pytest.mark.parametrize('head', [FCN_HEAD, SEGFORMER_HEAD], ids=lambda head: head['type'])
def test_segmentors_of_mmseg_train(head):
    config = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            size=(64, 64),
        ),
        backbone=dict(BACKBONE, out_indices=-1) if head is FCN_HEAD else BACKBONE,
        decode_head=dict(head, in_index=0) if head is FCN_HEAD else head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    assert_one_step_trains(build_model(config, 'mmseg'), segmentation_data())
