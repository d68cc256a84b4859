# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Small configs of every kind that is migrated, written where a user would have them."""

import textwrap
from pathlib import Path

import pytest

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
