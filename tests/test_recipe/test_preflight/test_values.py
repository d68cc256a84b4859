# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/values.py: mean and std against the values of the images."""

import pytest
from mmengine.config import Config

from mmconvnext.recipe.preflight.samples import Samples
from mmconvnext.recipe.preflight.values import check_values

IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
UNIT = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


def findings(values, **settings):
    cfg = Config(dict(model=dict(data_preprocessor=dict(type='DetDataPreprocessor', **settings))))
    low, high = values
    return list(check_values(cfg, Samples('train_dataloader', low=low, high=high)))


@pytest.mark.parametrize(
    ('values', 'settings'),
    [
        ((0, 255), IMAGENET),
        ((0, 255), dict(mean=[0, 0, 0], std=[255.0, 255.0, 255.0])),
        ((0, 255), dict(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0])),  # not normalized
        ((0, 255), dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0])),  # Caffe's
        ((0.0, 1.0), UNIT),
        ((-2.1, 2.6), dict(mean=[0.0], std=[1.0])),
        ((0, 255), {}),
        ((float('inf'), float('-inf')), UNIT),  # no image was read
    ],
)
def test_they_suit(values, settings):
    assert findings(values, **settings) == []


@pytest.mark.parametrize(
    'settings', [UNIT, dict(mean=[0, 0, 0], std=[0.1, 0.1, 0.2]), dict(mean=[0.5], std=[1.0])]
)
def test_means_of_0_to_1_for_values_of_0_to_255(settings):
    ((text, check),) = findings((1, 255), **settings)
    assert check == 'normalization'
    assert 'values of 1 to 255, but mean=' in text and 'multiply both by 255' in text


def test_means_of_0_to_255_for_values_of_0_to_1():
    ((text, check),) = findings((0, 1.0), **IMAGENET)
    assert check == 'normalization' and 'values of 0 to 1, but mean=' in text
    assert 'so that all images look the same' in text


@pytest.mark.parametrize('values', [(float('nan'), float('nan')), (0, float('inf'))])
def test_values_that_are_no_numbers(values):
    ((text, check),) = findings(values, **IMAGENET)
    assert check == 'normalization' and 'that are no numbers' in text
