# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""models/preprocessor.py: any number of channels; with three, mmdet's and mmseg's to the bit."""

import processes
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample

SHAPE = (10, 14)
THREE = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])
FIVE = dict(mean=[1.0, 2.0, 3.0, 4.0, 5.0], std=[2.0, 4.0, 8.0, 16.0, 32.0])
NAMES = {'DetDataPreprocessor': DetDataPreprocessor, 'SegDataPreProcessor': SegDataPreProcessor}


def build(name, **settings):
    return MODELS.build(dict(type=f'mmconvnext.{name}', **settings))


def data(name, channels, count=2, dtype=torch.uint8):
    images = [torch.randint(0, 255, (channels, *SHAPE)).to(dtype) for _ in range(count)]
    if name.startswith('Det'):
        return dict(inputs=images, data_samples=[DetDataSample() for _ in images])
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, *SHAPE))) for _ in images]
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('order', [{}, dict(bgr_to_rgb=True), dict(rgb_to_bgr=True)])
@pytest.mark.parametrize('name', NAMES)
def test_three_channels_are_as_before(name, order, training):
    size = dict(pad_size_divisor=32) if name.startswith('Det') else dict(size=(16, 16))
    given = data(name, 3)
    settings = dict(**THREE, **order, **size)
    found = build(name, **settings)(given, training)
    given = dict(given, data_samples=data(name, 3)['data_samples'])
    expected = NAMES[name](**settings)(given, training)
    assert torch.equal(found['inputs'], expected['inputs'])
    keys = [sample.metainfo_keys() for sample in found['data_samples']]
    assert keys == [sample.metainfo_keys() for sample in expected['data_samples']]


@pytest.mark.parametrize('name', NAMES)
def test_five_channels(name):
    model = build(name, bgr_to_rgb=True, **FIVE)
    assert isinstance(model, NAMES[name])
    given = data(name, 5)
    found = model(given)['inputs']
    mean, std = (torch.tensor(FIVE[key]).view(-1, 1, 1) for key in ('mean', 'std'))
    expected = (torch.stack(given['inputs'])[:, [2, 1, 0, 3, 4]].float() - mean) / std
    assert torch.equal(found, expected)


@pytest.mark.parametrize('channels', [1, 2, 4])
@pytest.mark.parametrize('name', NAMES)
def test_without_conversion_the_order_stays(name, channels):
    values = [float(i) for i in range(1, channels + 1)]
    given = data(name, channels)
    found = build(name, mean=values, std=values)(given)['inputs']
    value = torch.tensor(values).view(-1, 1, 1)
    assert torch.equal(found, (torch.stack(given['inputs']) - value) / value)


@pytest.mark.parametrize('name', NAMES)
def test_one_mean_for_all_channels(name):
    given = data(name, 5)
    found = build(name, mean=[7.0], std=[2.0], bgr_to_rgb=True)(given)['inputs']
    assert torch.equal(found, (torch.stack(given['inputs'])[:, [2, 1, 0, 3, 4]] - 7.0) / 2.0)


def test_a_stacked_batch_of_mmdet():
    images = torch.randint(0, 255, (2, 4, *SHAPE))
    model = build('DetDataPreprocessor', mean=[1.0] * 4, std=[2.0] * 4, bgr_to_rgb=True)
    found = model(dict(inputs=images, data_samples=[DetDataSample(), DetDataSample()]))
    assert torch.equal(found['inputs'], (images[:, [2, 1, 0, 3]].float() - 1.0) / 2.0)


@pytest.mark.parametrize('name', NAMES)
def test_the_given_data_stay(name):
    given = data(name, 4)
    before = [image.clone() for image in given['inputs']]
    build(name, mean=[1.0] * 4, std=[2.0] * 4, bgr_to_rgb=True)(given)
    assert all(torch.equal(a, b) for a, b in zip(given['inputs'], before))


@pytest.mark.parametrize('name', NAMES)
def test_without_mean_nothing_is_normalized(name):
    given = data(name, 4)
    assert torch.equal(build(name)(given)['inputs'], torch.stack(given['inputs']).float())


@pytest.mark.parametrize('name', NAMES)
def test_errors(name):
    with pytest.raises(
        ValueError, match='an image has 4 channels, but mean has 5 values; correct mean'
    ):
        build(name, **FIVE)(data(name, 4))
    with pytest.raises(ValueError, match='must have the same length'):
        build(name, mean=[1.0, 2.0], std=[1.0])
    with pytest.raises(ValueError, match='must have the same length'):
        build(name, mean=[1.0])
    with pytest.raises(ValueError, match='bgr_to_rgb and rgb_to_bgr cannot both'):
        build(name, bgr_to_rgb=True, rgb_to_bgr=True)


@pytest.mark.parametrize('name', NAMES)
def test_mean_and_std_are_in_no_checkpoint(name):
    model = build(name, **FIVE)
    assert not model.state_dict() and model.mean.dtype == torch.float32


def test_other_projects_are_imported_when_asked_for():
    result = processes.run("""
import sys
from mmengine.registry import MODELS
assert MODELS.get('mmconvnext.ConvNeXt') and MODELS.get('mmconvnext.DetDataPreprocessor')
assert 'mmdet' not in sys.modules and 'mmseg' not in sys.modules
MODELS.build(dict(type='mmconvnext.DetDataPreprocessor', mean=[1.0] * 4, std=[1.0] * 4))
assert 'mmdet' in sys.modules and 'mmseg' not in sys.modules
""")
    assert result.returncode == 0, result.stderr
