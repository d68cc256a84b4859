# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/thin.py: images of which a resize leaves nothing."""

import mmcv
import numpy as np
import pytest

from mmconvnext.recipe.checks.thin import check_thin

KEPT = dict(type='Resize', scale=(1333, 800), keep_ratio=True)


def found(long, short, *steps):
    return [
        *check_thin('train_dataloader.dataset', dict(pipeline=[*steps]), (long, short), 'a.jpg')
    ]


@pytest.mark.parametrize(('long', 'refused'), [(2666, False), (2667, True), (3000, True)])
def test_it_is_what_mmcv_does(long, refused):
    size = mmcv.rescale_size((long, 1), KEPT['scale'])
    assert (min(size) < 1) is refused
    assert [one.check for one in found(long, 1, KEPT)] == ['thin_images'] * refused
    if not refused:
        mmcv.imrescale(np.zeros((1, long, 3), np.uint8), KEPT['scale'])


def test_the_message_names_the_image_and_the_way_out():
    (one,) = found(3000, 1, KEPT)
    assert one.text.startswith(
        'train_dataloader.dataset: of a.jpg, 3000 pixels long and 1 wide, nothing is left when it '
        'is resized to 1333 pixels at most: leave it out'
    )


@pytest.mark.parametrize(
    ('step', 'refused'),
    [
        (dict(KEPT, scale=(800, 1333)), True),
        (dict(KEPT, type='mmdet.Resize'), True),
        (dict(KEPT, type='RandomResize', scale=[(4000, 800), (1333, 640)]), True),
        (dict(KEPT, type='RandomResize', scale=(2000, 800), ratio_range=(0.5, 2.0)), True),
        (dict(KEPT, type='RandomResize', scale=(2000, 800), ratio_range=(1.0, 2.0)), False),
        (dict(type='RandomChoiceResize', scales=[(4000, 800), (500, 400)], keep_ratio=True), True),
        (dict(type='RandomChoice', transforms=[[KEPT]]), True),
        (dict(KEPT, keep_ratio=False), False),
        (dict(type='Resize', scale_factor=0.1, keep_ratio=True), False),
        (dict(type='Resize', scale=0.1, keep_ratio=True), False),
        (dict(type='Pad', size=(1333, 800)), False),
    ],
)
def test_transforms(step, refused):
    assert bool(found(3000, 1, dict(type='LoadImageFromFile'), step)) is refused


def test_a_usual_image_passes():
    assert not found(6000, 3, KEPT)
