# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli: configs in mmengine's lazy style, whose types are classes, go through both tools."""

from pathlib import Path

import pytest
import torch
from fixtures import MASK_RCNN, TINY_DETECTOR, TINY_SEGMENTOR, UPERNET
from mmengine.config import Config

from mmconvnext.cli.test import main as evaluate
from mmconvnext.cli.train import main as train
from mmconvnext.recipe.errors import RecipeError

HEAD = """
from mmengine.config import read_base
from mmengine.dataset import {sampler}
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import {wrapper}, LinearLR
from torch.optim import AdamW

from mmconvnext.models import ConvNeXt
from mmconvnext.optim import LayerDecayOptimWrapperConstructor
"""
BODY = """
with read_base():
    from .base import *

default_scope = None
model.update(type={model}, backbone=dict(type=ConvNeXt))
train_dataloader.update(sampler=dict(type={sampler}))
default_hooks.update(checkpoint=dict(type=CheckpointHook), logger=dict(type=LoggerHook))
optim_wrapper.update(
    type={wrapper},
    constructor=LayerDecayOptimWrapperConstructor,
    optimizer=dict(type=AdamW),
)
param_scheduler[0].update(type=LinearLR)
"""
DETECTOR = """
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, Resize
from mmdet.evaluation import CocoMetric
from mmdet.models import FPN, MaskRCNN
"""
DETECTOR_BODY = """
model.update(neck=dict(type=FPN))
meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations, with_bbox=True, with_mask=True),
    dict(type=Resize, scale=(800, 800), keep_ratio=True),
    dict(type=PackDetInputs, meta_keys=meta),
]
for loader in (train_dataloader, val_dataloader, test_dataloader):
    loader.update(dataset=dict(type=CocoDataset, pipeline=pipeline))
for evaluator in (val_evaluator, test_evaluator):
    evaluator.update(type=CocoMetric)
"""
SEGMENTOR = """
from mmseg.models import EncoderDecoder, FCNHead, UPerHead
from torch.nn import SyncBatchNorm
"""
SEGMENTOR_BODY = """
norm_cfg = dict(type=SyncBatchNorm, requires_grad=True)
model.update(
    decode_head=dict(type=UPerHead, norm_cfg=norm_cfg),
    auxiliary_head=dict(type=FCNHead, norm_cfg=norm_cfg),
)
"""


@pytest.fixture
def lazy(workplace):
    """A function that writes one of our recipes in lazy style; returns the leaf."""

    def write(recipe, head, body, **names):
        base = Config.fromfile(recipe)
        base.pop('custom_imports')
        base.dump('base.py')
        text = (HEAD + head + BODY + body).format(**names, wrapper='AmpOptimWrapper')
        Path('leaf.py').write_text(text)
        assert isinstance(Config.fromfile('leaf.py').model.backbone.type, type)
        return 'leaf.py'

    return write


@pytest.fixture
def lazy_detector(lazy):
    return lazy(MASK_RCNN, DETECTOR, DETECTOR_BODY, model='MaskRCNN', sampler='DefaultSampler')


@pytest.fixture
def lazy_segmentor(lazy):
    names = dict(model='EncoderDecoder', sampler='InfiniteSampler')
    return lazy(UPERNET, SEGMENTOR, SEGMENTOR_BODY, **names)


def test_a_lazy_detector_trains_and_is_tested(lazy_detector, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    runner = train([lazy_detector, '--toy', '--work-dir', 'run', '--cfg-options', *TINY_DETECTOR])
    assert 'training runs in float32' in capsys.readouterr().out
    assert runner.cfg.default_scope == 'mmdet'
    assert runner.epoch == 1 and type(runner.param_schedulers[0]).__name__ == 'LinearLR'
    options = ('--work-dir', 'test', '--cfg-options', *TINY_DETECTOR)
    metrics = evaluate([lazy_detector, 'run/epoch_1.pth', '--toy', *options])
    assert 'coco/bbox_mAP' in metrics


def test_a_lazy_segmentor_trains_and_is_tested(lazy_segmentor, capsys):
    options = ('--cfg-options', *TINY_SEGMENTOR)
    runner = train([lazy_segmentor, '--toy', '--work-dir', 'run', *options])
    assert 'SyncBN becomes BN over a batch of 2 images' in capsys.readouterr().out
    assert runner.iter == 2
    metrics = evaluate([lazy_segmentor, 'run/iter_2.pth', '--toy', '--work-dir', 'test', *options])
    assert 'mIoU' in metrics


def test_the_channels_of_a_lazy_config_are_checked(lazy_detector):
    options = ('--toy', '--cfg-options', *TINY_DETECTOR, 'model.neck.in_channels=[1,2,3,4]')
    with pytest.raises(RecipeError, match=r'neck\.in_channels=\[1, 2, 3, 4\], but model\.backbone'):
        train([lazy_detector, *options])
