# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/photo_metric_distortion.py: mmseg's, for floats and for any number of channels."""

import cv2
import numpy as np
import pytest
from image_files import colours, noise
from mmseg.datasets.transforms import PhotoMetricDistortion as Mmsegs

from mmconvnext.recipe.photo_metric_distortion import PhotoMetricDistortion
from mmconvnext.registry import TRANSFORMS

OFF = dict(brightness_delta=0, contrast_range=(1, 1), saturation_range=(1, 1), hue_delta=0)


def distorted(image, times=30, transform=None, **settings):
    transform = transform or PhotoMetricDistortion(**settings)
    return [transform(dict(img=image.copy()))['img'] for _ in range(times)]


@pytest.mark.parametrize(
    'image',
    [
        noise(),
        noise().astype(np.float32),
        noise()[..., 0],
        noise()[..., :2],
        np.dstack([noise(), noise()[..., :2]]),
        np.dstack([noise(), noise()]).astype(np.float32),
    ],
    ids=['uint8', 'float', 'grey', 'two', 'five', 'six floats'],
)
def test_type_shape_and_range_stay(image):
    found = distorted(image)
    assert {(one.dtype, one.shape) for one in found} == {(image.dtype, image.shape)}
    assert min(one.min() for one in found) >= 0 and max(one.max() for one in found) <= 255.01
    assert len({one.tobytes() for one in found}) > 10  # by chance some stay as they are


def test_nothing_changes_without_a_range():
    for image in (noise(), noise().astype(np.float32)):
        assert all(np.abs(one - image).max() < 0.01 for one in distorted(image, **OFF))


def test_each_change_has_the_size_of_mmsegs():
    """Means, saturations and hues of many draws, beside those of mmseg's on the same 8 bits."""

    def moments(transform):
        np.random.seed(3)
        images = distorted(colours(), 400, transform)
        hsv = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2HSV) for image in images]).astype(float)
        return np.stack([hsv[..., i].mean((1, 2)) for i in range(3)])

    ours, theirs = moments(PhotoMetricDistortion()), moments(Mmsegs())
    np.testing.assert_allclose(ours.mean(1), theirs.mean(1), rtol=0.05)
    np.testing.assert_allclose(ours.std(1), theirs.std(1), rtol=0.2)


@pytest.mark.parametrize(
    ('name', 'value', 'changes'),
    [
        ('brightness_delta', 32, [True, True]),
        ('contrast_range', (0.5, 0.6), [True, True]),
        ('saturation_range', (0.1, 0.2), [True, False]),
        ('hue_delta', 18, [True, False]),
    ],
)
def test_colours_are_the_first_three_channels(name, value, changes):
    image = np.dstack([colours(), colours()[..., 0]]).astype(np.float32)
    found = distorted(image, **{**OFF, name: value})
    moved = [
        np.abs(np.stack(found)[..., part] - image[..., part]).max() > 1 for part in (slice(3), 3)
    ]
    assert moved == changes


def test_half_of_the_images_get_each_change():
    np.random.seed(0)
    image = np.full((4, 4, 3), 100, np.float32)
    bright = distorted(image, 600, **{**OFF, 'brightness_delta': 32})
    changed = np.mean([np.abs(one - image).max() > 0.01 for one in bright])
    assert 0.42 < changed < 0.58


def test_saturation_and_hue_of_a_colour():
    red = np.full((2, 2, 3), (0, 0, 200), np.float32)  # BGR
    grey = distorted(red, 40, **{**OFF, 'saturation_range': (0, 0)})
    assert any(np.allclose(one, 200, atol=0.1) for one in grey)
    assert all(np.allclose(one, 200, atol=0.1) or np.allclose(one, red) for one in grey)
    turned = distorted(red, 40, **{**OFF, 'hue_delta': 18})
    assert (
        max(one[0, 0, 1] for one in turned) <= 200 * 36 / 60 + 0.1
    )  # at most 36 degrees to yellow
    assert max(one[0, 0, 1] for one in turned) > 20


def test_mmsegs_is_wrong_on_floats():
    """Why it is replaced: it takes the saturation of a float image, 0 to 1, for 0 to 255."""
    red = np.full((2, 2, 3), (50, 50, 200), np.float32)
    settings = {**OFF, 'saturation_range': (0.9, 0.9)}
    theirs = distorted(red, 40, Mmsegs(**{**settings, 'hue_delta': 1}))
    ours = distorted(red, 40, **settings)
    assert max(np.abs(one - red).max() for one in theirs) > 45
    assert max(np.abs(one - red).max() for one in ours) < 20


def test_its_name_in_a_config():
    built = TRANSFORMS.build(dict(type='mmconvnext.PhotoMetricDistortion', hue_delta=9))
    assert type(built) is PhotoMetricDistortion
    assert 'brightness_delta=32' in repr(built) and 'hue_delta=9' in repr(built)
