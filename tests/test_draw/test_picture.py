# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/picture.py: any image becomes a picture; texts are written where they belong."""

import numpy as np
import pytest

from mmconvnext.draw import as_picture, brightened, brightness
from mmconvnext.draw.picture import put_texts, text_size


def test_a_picture_is_a_copy():
    image = np.zeros((3, 5, 3), np.uint8)
    picture = as_picture(image)
    picture[:] = 9
    assert not image.any() and picture.flags['C_CONTIGUOUS']
    assert as_picture(image[:, ::-1, ::-1]).flags['C_CONTIGUOUS']


@pytest.mark.parametrize('channels, shown', [(1, [0, 0, 0]), (2, [0, 0, 0]), (4, [0, 1, 2])])
def test_other_numbers_of_channels(channels, shown):
    image = np.zeros((2, 3, channels), np.uint8) + np.arange(channels, dtype=np.uint8)
    assert as_picture(image)[1, 2].tolist() == shown
    assert as_picture(image[..., 0]).shape == (2, 3, 3)


@pytest.mark.parametrize('dtype', [np.uint16, np.float32, np.int32])
def test_other_values_are_stretched(dtype):
    image = np.array([[100, 300], [200, 500]], dtype)
    assert as_picture(image)[..., 1].tolist() == [[0, 127], [63, 255]]
    assert not as_picture(np.full((2, 2), 7, dtype)).any()


def test_values_that_are_no_numbers_are_black():
    image = np.array([[0.0, np.nan], [0.5, 1.0]])
    assert as_picture(image)[..., 0].tolist() == [[0, 0], [127, 255]]


@pytest.mark.parametrize(
    ('light', 'times'), [(0, 1), (1, 255), (51, 5), (127, 255 / 127), (128, 1), (255, 1)]
)
def test_dark_pictures_are_told_from_others(light, times):
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :3] = light
    assert brightness(picture) == pytest.approx(times)
    large = np.repeat(np.repeat(picture, 100, axis=0), 100, axis=1)
    assert brightness(large) == pytest.approx(times)


def test_a_few_bright_pixels_do_not_hide_that_a_picture_is_dark():
    picture = np.full((20, 30, 3), 10, np.uint8)
    picture[4, :2] = 255
    assert brightness(picture) == 25.5
    picture[4, :5] = 255
    assert brightness(picture) == 1


def test_brightened_pictures_end_at_white():
    picture = np.array([[[0, 10, 60]]], np.uint8)
    assert brightened(picture, 5).tolist() == [[[0, 50, 255]]] and picture[0, 0, 2] == 60
    assert brightened(picture, 5).dtype == np.uint8 and brightened(picture, 1) is picture


@pytest.mark.parametrize('shape', [(4,), (0, 4), (4, 0, 3), (1, 2, 3, 4)])
def test_what_is_no_image(shape):
    with pytest.raises(ValueError, match='an array of shape .* is not an image'):
        as_picture(np.zeros(shape, np.uint8))


def test_text_lies_on_its_plate():
    picture = np.zeros((40, 200, 3), np.uint8)
    put_texts(picture, [(10, 5, 'Zelle \u00e4\u03b2\u0436', (200, 0, 0))], 16)
    width, height = text_size('Zelle \u00e4\u03b2\u0436', 16)
    assert height == 20 and 60 < width < 120
    plate = picture[5 : 5 + height, 10 : 10 + width]
    assert (plate[0, 0] == (200, 0, 0)).all() and (plate == 255).all(axis=-1).any()
    picture[5 : 6 + height, 10 : 15 + width] = 0
    assert not picture.any()


def test_text_at_the_border_is_cut():
    picture = np.zeros((10, 20, 3), np.uint8)
    put_texts(picture, [(15, 5, 'long text', (0, 0, 255)), (90, 90, 'away', (9, 9, 9))], 16)
    assert picture.shape == (10, 20, 3) and picture[6, 19].any() and not picture[:4].any()


def test_texts_with_line_breaks_and_control_characters():
    assert text_size('a\nb\0', 10) == text_size('a?b?', 10)
    picture = np.zeros((20, 90, 3), np.uint8)
    put_texts(picture, [(2, 2, 'a\nb\0', (255, 255, 255))], 10)
    assert picture.any()
