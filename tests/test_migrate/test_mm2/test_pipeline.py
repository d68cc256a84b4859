# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mm2/pipeline.py: each step is updated, and what left the pipeline moves to the preprocessor."""

import pytest

from mmconvnext.migrate.mm2.pipeline import META_KEYS, PipelineReader
from mmconvnext.migrate.notes import Notes

NORMALIZE = dict(type='Normalize', mean=[1.0], std=[2.0], to_rgb=True)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(type='RandomFlip', flip_ratio=0.5), dict(type='RandomFlip', prob=0.5)),
        (dict(type='RandomFlip', prob=0.5), dict(type='RandomFlip', prob=0.5)),
        (
            dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
            dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        ),
        (
            dict(type='Resize', img_scale=[(1, 2), (3, 4)], multiscale_mode='value', override=True),
            dict(type='RandomChoiceResize', scales=[(1, 2), (3, 4)], keep_ratio=True),
        ),
        (
            dict(type='Resize', img_scale=[(1, 2), (3, 4)], multiscale_mode='range'),
            dict(type='RandomResize', scale=[(1, 2), (3, 4)], keep_ratio=True),
        ),
        (
            dict(type='Resize', img_scale=(2048, 512), ratio_range=(0.5, 2.0)),
            dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
        ),
        (
            dict(type='AutoAugment', policies=[[dict(type='RandomFlip', flip_ratio=1.0)]]),
            dict(type='RandomChoice', transforms=[[dict(type='RandomFlip', prob=1.0)]]),
        ),
        (
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='LoadAnnotations', with_bbox=True),
        ),
        (NORMALIZE, None),
        (dict(type='Pad', size_divisor=32), None),
        (dict(type='DefaultFormatBundle'), None),
        (dict(type='Collect', keys=['img']), None),
        (dict(type='Pad', size=(8, 8)), dict(type='Pad', size=(8, 8), pad_val=dict(img=0))),
    ],
)
def test_steps_of_a_detector(old, new):
    notes = Notes()
    steps = PipelineReader('mmdet', notes).training([old])
    assert steps == [step for step in (new, dict(type='PackDetInputs')) if step]
    assert not notes.lost


def test_the_preprocessor_is_read_from_the_steps():
    reader = PipelineReader('mmdet', Notes())
    reader.training([dict(type='LoadAnnotations', with_mask=True), NORMALIZE])
    reader.training([dict(type='Pad', size_divisor=32)])
    assert reader.masks
    assert reader.preprocessor == dict(mean=[1.0], std=[2.0], bgr_to_rgb=True, pad_size_divisor=32)
    reader = PipelineReader('mmseg', Notes())
    steps = reader.training([dict(type='Pad', size=(512, 512), pad_val=0, seg_pad_val=255)])
    assert steps == [dict(type='PackSegInputs')]
    assert reader.preprocessor == dict(size=(512, 512), pad_val=0, seg_pad_val=255)


def test_a_test_pipeline():
    inner = [dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), NORMALIZE]
    flip_aug = dict(type='MultiScaleFlipAug', img_scale=(9, 8), flip=False, transforms=inner)
    reader = PipelineReader('mmdet', notes := Notes())
    steps = reader.testing([dict(type='LoadImageFromFile'), flip_aug], dict(type='LoadAnnotations'))
    assert steps == [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(9, 8), keep_ratio=True),
        dict(type='LoadAnnotations'),
        dict(type='PackDetInputs', meta_keys=META_KEYS),
    ]
    assert not notes.lost


@pytest.mark.parametrize(
    ('step', 'match'),
    [
        (dict(type='NoSuchStep'), 'pipeline step NoSuchStep: mmdet has no such transform'),
        (dict(type='Resize', img_scale=(1, 2), bbox_clip_border=False), 'bbox_clip_border=False'),
        (
            dict(type='MultiScaleFlipAug', img_scale=[(1, 2), (3, 4)], transforms=[]),
            'MultiScaleFlipAug with flips or several scales',
        ),
        (
            dict(type='LoadImageFromFile', file_client_args=dict(backend='petrel')),
            'file_client_args of LoadImageFromFile',
        ),
    ],
)
def test_what_is_lost_is_named(step, match):
    reader = PipelineReader('mmdet', notes := Notes())
    reader.testing([step], None)
    assert len(notes.lost) == 1 and notes.lost[0].startswith(match)
