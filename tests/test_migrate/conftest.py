# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Small configs of every kind that can be migrated, written where a user would have them."""

import textwrap
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from mmconvnext.migrate.source import shipped

MMPRETRAIN = """
custom_imports = dict(imports=['mmpretrain.models'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True, type='mmpretrain.ConvNeXt', arch='atto', out_indices=[0, 1, 2, 3],
        drop_path_rate=0.1, gap_before_final_norm=False, use_grn=True, layer_scale_init_value=0.0,
        init_cfg=dict(type='Pretrained', checkpoint='atto.pth', prefix='backbone.')),
    neck=dict(in_channels=[40, 80, 160, 320]))
optim_wrapper = dict(
    type='AmpOptimWrapper', constructor='LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_rate=0.8, decay_type='layer_wise', num_layers=6),
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05))
"""


@pytest.fixture
def write(tmp_path):
    """Writes a config and returns its path."""

    def put(text: str, name: str = 'mine.py') -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return put


@pytest.fixture
def mask_rcnn(write) -> Path:
    """mmpretrain's backbone over mmdet's Mask R-CNN, V2, with layer-wise decay."""
    base = "_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\n"
    return write(base + MMPRETRAIN)


@pytest.fixture
def mmseg_base() -> str:
    """The folder of mmseg's shipped configs."""
    return str(shipped()['mmseg'])


def train_step(path, inputs):
    """The loss of one step on these data, as a runner computes it."""
    cfg = Config.fromfile(str(path))
    scope = cfg.default_scope
    with DefaultScope.overwrite_default_scope(scope):
        registry = __import__(f'{scope}.registry', fromlist=['MODELS']).MODELS
        for node in walk(cfg.model):
            if node.get('type') == 'SyncBN':
                node['type'] = 'BN'
            node.pop('init_cfg', None)
        cfg.model.data_preprocessor.batch_augments = None
        model = registry.build(cfg.model).train()
        model.init_weights()  # DINO's level_embed is uninitialized memory before
        wrapper = cfg.optim_wrapper
        wrapper.type = 'OptimWrapper'  # the other needs a GPU
        wrapper.pop('loss_scale', None)
        optimizer = build_optim_wrapper(model, wrapper)
        return model.train_step(inputs, optimizer)['loss'].item()


def walk(node):
    if isinstance(node, dict):
        yield node
    values = node.values() if isinstance(node, dict) else node
    for value in values if isinstance(node, (dict, list, tuple)) else ():
        yield from walk(value)


@pytest.fixture
def detection_inputs():
    """Makes two random images with objects, for any detector of mmdet."""
    from mmdet.testing import demo_mm_inputs

    shapes = [[3, 64, 64]] * 2
    return lambda masks: demo_mm_inputs(
        2, shapes, num_items=[2, 2], num_classes=80, with_mask=masks
    )


@pytest.fixture
def segmentation_inputs() -> dict:
    """Two random images with label maps of 19 classes, for any segmentor of mmseg."""
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 19, (1, 64, 64)))
        samples.append(sample)
    images = list(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    return dict(inputs=images, data_samples=samples)


def _proven(result):
    kind = [line for line in result.proof if 'learning rate and weight decay of all' in line]
    assert kind, result.proof
    assert any('parameters, as many as' in line for line in result.proof), result.proof


@pytest.fixture
def step():
    """Trains a config's model for one step and returns the loss."""
    return train_step


@pytest.fixture
def proven():
    """Assert that a migration's report says that parameters and rates are equal."""
    return _proven
