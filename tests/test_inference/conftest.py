# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A model without a network, and small models of mmdet and mmseg with random weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures import ROOT
from mmengine.structures import InstanceData, PixelData

from mmconvnext.inference.detections import Detections
from mmconvnext.inference.patch import Patch

CLASSES = ('cat', 'dog', 'emu')


@pytest.fixture(scope='session', autouse=True)
def _projects():
    """Import what loading would import, so that no test has to wait for it."""
    import mmdet.datasets  # noqa: F401
    import mmseg.datasets  # noqa: F401
    import supervision  # noqa: F401


def found(boxes, labels=None, scores=None, masks=None, label_map=None) -> Detections:
    """Detections of boxes, with scores that go down from 0.9."""
    number = len(boxes)
    return Detections(
        np.float32(boxes).reshape(-1, 4),
        np.array(labels if labels is not None else [0] * number, np.int64),
        np.float32(
            scores if scores is not None else np.linspace(0.9, 0.5, max(number, 1))[:number]
        ),
        None if masks is None else [Patch.cut(mask) for mask in masks],
        label_map,
        has_objects=label_map is None,
    )


class Net(torch.nn.Module):
    """Finds the bright pixels of each image: their box, or a label map."""

    def __init__(self, kind: str = 'box') -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.data_preprocessor = SimpleNamespace(pad_size_divisor=8)
        self.kind, self.batches = kind, []

    def test_step(self, data: dict) -> list[dict]:
        self.batches.append([tuple(image.shape) for image in data['inputs']])
        return [self._sample(image.float().mean(0) > 200) for image in data['inputs']]

    def _sample(self, bright: torch.Tensor) -> dict:
        if self.kind == 'map':
            return dict(pred_sem_seg=PixelData(data=bright.long()[None]))
        rows, columns = bright.any(1).nonzero(), bright.any(0).nonzero()
        boxes = (
            [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else []
        )
        return dict(
            pred_instances=InstanceData(
                bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                labels=torch.ones(len(boxes), dtype=torch.long),
                scores=torch.full((len(boxes),), 0.75),
                masks=bright[None].repeat(len(boxes), 1, 1),
            )
        )


@pytest.fixture
def model_of():
    """A function that makes a model around a :class:`Net`."""
    from mmengine.config import Config
    from mmengine.registry import DefaultScope

    from mmconvnext.inference.images import Pipeline
    from mmconvnext.inference.model import Model

    def make(kind='box', **settings):
        scope = 'mmseg' if kind == 'map' else 'mmdet'
        pack = 'PackSegInputs' if kind == 'map' else 'PackDetInputs'
        with DefaultScope.overwrite_default_scope(scope):
            pipeline = Pipeline([dict(type='LoadImageFromFile'), dict(type=pack)])
        given = dict(score=0.3, tiles=None, large_only=False, overlap=0.25, palette=None)
        given.update(classes=CLASSES, scope=scope, cfg=Config(dict(model={})), **settings)
        return Model(Net(kind), pipeline, **given)

    return make


def _save(folder, name, text) -> None:
    """A config and a checkpoint of its model with random weights, as a run leaves them."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    (folder / name).write_text(text)
    cfg = Config.fromfile(folder / name)
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=[(9, 8, 7)] * 3))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'best_x_epoch_1.pth')


@pytest.fixture(scope='session')
def detector(tmp_path_factory):
    """A work dir with a Mask R-CNN for images of 64 x 48; do not write into it."""
    folder = tmp_path_factory.mktemp('detector')
    base = ROOT / 'configs/_base_/mask-rcnn_convnext-atto_cpu.py'
    _save(
        folder,
        'det.py',
        f"""
_base_ = {str(base)!r}
own_data = dict(
    root='nowhere', classes={list(CLASSES)},
    train=dict(images='train', annotations='train.json'),
    val=dict(images='val', annotations='val.json'),
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 48), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor')),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader
model = dict(test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20), rcnn=dict(max_per_img=20)))
__import__('mmconvnext').use_own_data(locals())
""",
    )
    return folder


@pytest.fixture(scope='session')
def segmentor(tmp_path_factory):
    """A work dir with a small FCN on a ConvNeXt; do not write into it."""
    folder = tmp_path_factory.mktemp('segmentor')
    _save(
        folder,
        'seg.py',
        f"""
default_scope = 'mmseg'
custom_imports = dict(imports=['mmconvnext'])
preprocessor = dict(type='SegDataPreProcessor', mean=[120] * 3, std=[60] * 3, bgr_to_rgb=True)
model = dict(
    type='EncoderDecoder', data_preprocessor=preprocessor,
    backbone=dict(type='mmconvnext.ConvNeXt', arch=dict(depths=[1, 1], channels=[8, 16]),
                  out_indices=[1]),
    decode_head=dict(type='FCNHead', in_channels=16, in_index=0, channels=8, num_convs=1,
                     num_classes=3, norm_cfg=dict(type='BN'), align_corners=False),
    train_cfg=dict(), test_cfg=dict(mode='whole'),
)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 32), keep_ratio=True),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
dataset = dict(type='BaseSegDataset', data_root='nowhere', reduce_zero_label=True,
               metainfo=dict(classes={list(CLASSES)}, palette=[(1, 2, 3)] * 3), pipeline=pipeline)
test_dataloader = dict(batch_size=1, dataset=dataset)
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (1.0, 1.5)],
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')],
    ]),
]
""",
    )
    return folder


@pytest.fixture
def photo(tmp_path):
    """A PNG file of 40 x 30 pixels with a bright rectangle at (8, 6) to (20, 16)."""
    from PIL import Image

    pixels = np.full((30, 40, 3), 20, np.uint8)
    pixels[6:16, 8:20] = 250
    file = tmp_path / 'photo one.png'
    Image.fromarray(pixels).save(file)
    return file
