# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""checks/normalization.py: std divides, and the order of channels suits means and weights."""

import pytest
from fixtures import MASK_RCNN, UPERNET

from mmconvnext.recipe.checks.normalization import MEAN, check_normalization


def findings(cfg, **settings):
    cfg.model.data_preprocessor.update(settings)
    return [(finding.check, finding.text) for finding in check_normalization(cfg)]


@pytest.fixture(params=[MASK_RCNN, UPERNET], ids=['det', 'seg'])
def cfg(request, load):
    return load(request.param)


def test_shipped_recipes_suit(cfg):
    assert cfg.model.backbone.init_cfg.checkpoint and findings(cfg) == []


@pytest.mark.parametrize('std', [[58.0, 0, 57.0], [58.0, -1.0, 57.0], [58.0, float('nan'), 57.0]])
def test_std_that_cannot_divide(cfg, std):
    ((check, text),) = findings(cfg, std=std)
    assert check == 'normalization' and text.startswith('model.data_preprocessor.std=[58.0, ')
    assert 'every std must be above 0' in text


def test_means_in_the_other_order(cfg):
    ((check, text),) = findings(cfg, mean=[103.53, 116.28, 123.675])
    assert check == '' and 'in the order BGR, but with bgr_to_rgb=True the channels are RGB' in text
    assert 'set bgr_to_rgb=True, mean=[123.675, 116.28, 103.53], std=[58.395, ' in text
    cfg.model.backbone.pop('init_cfg')
    ((check, text),) = findings(cfg, mean=list(MEAN), bgr_to_rgb=False)
    assert (
        check == '' and 'in the order RGB, but with bgr_to_rgb=False the channels are BGR' in text
    )


def test_bgr_for_pretrained_weights(cfg):
    name = cfg.model.backbone.init_cfg.checkpoint
    ((check, text),) = findings(cfg, mean=[103.53, 116.28, 123.675], bgr_to_rgb=False)
    assert check == '' and f'gives the backbone BGR images, but published ConvNeXt weights ({name})'
    assert 'BGR images' in text and name in text
    cfg.load_from = 'mine.pth'
    assert findings(cfg) == []
    cfg.load_from = None
    cfg.model.backbone.init_cfg = None
    assert findings(cfg) == []


def test_means_of_other_data_are_left_alone(cfg):
    cfg.model.backbone.init_cfg = None
    assert findings(cfg, mean=[72.4, 82.9, 73.2], bgr_to_rgb=False) == []
    assert findings(cfg, mean=[127.5, 127.5, 127.5]) == []
    assert findings(cfg, mean=[0.0], std=[1.0]) == []


def test_pipelines_that_may_change_the_order(cfg):
    wrong = dict(mean=[103.53, 116.28, 123.675])
    cfg.train_dataloader.dataset.pipeline.append(dict(type='Normalize'))
    assert findings(cfg, **wrong) == []
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[loader].dataset.pipeline = [dict(type='LoadOwnImage')]
    cfg.pop('tta_pipeline', None)
    assert findings(cfg, **wrong) == []
