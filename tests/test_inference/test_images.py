# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/images.py: an image in any form gives what the file gives."""

import cv2
import image_files
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

from mmconvnext.inference.images import Pipeline, as_rgb, without_labels
from mmconvnext.recipe.errors import RecipeError

RGB = image_files.colours()


def pipeline(loader=None, *others, **settings) -> Pipeline:
    loader = {'type': 'LoadImageFromFile', **(loader or {})}
    pack = dict(type='PackDetInputs', meta_keys=('ori_shape', 'scale_factor'))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return Pipeline([loader, *others, pack], **settings)


def test_an_array_a_picture_a_tensor_and_a_file_are_the_same(tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'a b.png')
    steps = pipeline()
    forms = [
        str(tmp_path / 'a b.png'),
        tmp_path / 'a b.png',
        RGB,
        Image.fromarray(RGB),
        torch.from_numpy(RGB).permute(2, 0, 1),
        np.dstack([RGB, RGB[..., 0]]),  # alpha is left out
    ]
    for form in forms:
        loaded = steps.load(form)
        assert (loaded['img'] == RGB[..., ::-1]).all() and loaded['img_shape'] == (16, 24)
        assert steps.pack(loaded)['inputs'].shape == (3, 16, 24)
    assert (as_rgb(loaded['img']) == RGB).all()


@pytest.mark.parametrize('mode', ['L', '1', 'P', 'RGBA', 'CMYK', 'LA'])
def test_other_modes_become_rgb(mode):
    loaded = pipeline().load(Image.fromarray(RGB).convert(mode))['img']
    expected = np.asarray(Image.fromarray(RGB).convert(mode).convert('RGB'))
    assert (loaded[..., ::-1] == expected).all()


def test_a_file_and_its_picture_are_turned_by_exif(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(image_files.turned('JPEG', 6))
    of_file = pipeline().load(tmp_path / 'a.jpg')['img']
    of_picture = pipeline().load(Image.open(tmp_path / 'a.jpg'))['img']
    assert of_file.shape == of_picture.shape == (24, 16, 3)
    assert np.abs(of_file.astype(int) - of_picture).mean() < 2


def test_a_grey_recipe():
    grey = pipeline(dict(color_type='grayscale')).load(RGB)['img']
    assert grey.shape == (16, 24) and grey.dtype == np.uint8
    assert np.abs(grey.astype(int) - cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)).max() <= 1
    assert (pipeline(dict(color_type='grayscale')).load(grey)['img'] == grey).all()


def load_image(**settings) -> Pipeline:
    return pipeline(dict(type='mmconvnext.LoadImage', **settings))


def test_twelve_bits_as_file_array_and_picture(tmp_path):
    values = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 10
    Image.fromarray(values).save(tmp_path / 'a.png')
    steps = load_image(bits=12)
    for form in (tmp_path / 'a.png', values, Image.open(tmp_path / 'a.png')):
        image = steps.load(form)['img']
        assert image.dtype == np.float32 and image.shape == (16, 24, 3)
        assert image[..., 0] == pytest.approx(values * (255 / 4095), rel=1e-5)
    with pytest.raises(ValueError, match='the array has values from 0 to 4096, but bits=12'):
        steps.load(np.full((2, 3), 4096, np.uint16) * np.eye(2, 3, dtype=np.uint16))


def test_four_channels(tmp_path):
    image = np.dstack([RGB, RGB[..., 1] // 2])
    np.save(tmp_path / 'a.npy', image)
    steps = load_image(bits=8, channels=4, color_type='unchanged')
    for form in (tmp_path / 'a.npy', image):
        loaded = steps.load(form)['img']
        assert (as_rgb(loaded) == image).all() and (loaded[..., 0] == RGB[..., 2]).all()
    with pytest.raises(ValueError, match='an array of 3 channels, but this recipe takes 4'):
        steps.load(RGB)


def test_more_bits_than_the_recipe_loads_are_refused(tmp_path):
    Image.fromarray(np.full((4, 5), 900, np.uint16)).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r'a\.png: it has 16 bits, .*own_data\.bits=16'):
        pipeline().load(tmp_path / 'a.png')
    assert pipeline(any_bits=True).load(tmp_path / 'a.png')['img'].max() == 3
    assert pipeline(dict(color_type='unchanged')).load(tmp_path / 'a.png')['img'].max() == 900
    with pytest.raises(ValueError, match='an array of uint16, but this recipe takes 8 bits'):
        pipeline().load(np.zeros((4, 5), np.uint16))
    np.save(tmp_path / 'a.npy', RGB)
    with pytest.raises(ValueError, match=r'a\.npy: this recipe loads no \.npy files'):
        pipeline().load(tmp_path / 'a.npy')


@pytest.mark.parametrize(
    ('loader', 'taken'),
    [
        ({}, False),
        (dict(type='mmconvnext.LoadImage', bits=16), False),
        (dict(type='mmconvnext.LoadImage', channels=3), True),
        (dict(type='mmconvnext.LoadImage', color_type='unchanged'), True),
        (dict(color_type='unchanged'), True),
    ],
)
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_floating_point_numbers(tmp_path, loader, taken, dtype):
    """No number of bits scales them."""
    content = cv2.imencode('.tif', (RGB / 255).astype(dtype))[1].tobytes()
    file = image_files.write(tmp_path / 'a.tif', content)
    if taken:
        assert pipeline(loader).load(file)['img'].max() < 1
        return
    with pytest.raises(ValueError, match=r'a\.tif: its values are .*-bit floating-point') as error:
        pipeline(loader).load(file)
    assert 'own_data.bits' not in str(error.value) and 'own_data.channels=3' in str(error.value)


def test_integers_of_32_bits(tmp_path):
    content = cv2.imencode('.tif', RGB[..., 0].astype(np.int32))[1].tobytes()
    file = image_files.write(tmp_path / 'a.tif', content)
    for steps in (pipeline(), load_image(bits=16)):
        with pytest.raises(ValueError, match='its values are 32-bit integers, which this recipe'):
            steps.load(file)


def test_pixels_that_are_damaged_are_told_with_the_reason(tmp_path):
    """The checksums of the file are sound; cv2 only says that it fails."""
    file = image_files.write(tmp_path / 'a.png', image_files.png_of(bytes(50)))
    for steps in (pipeline(), load_image(bits=8), pipeline(dict(ignore_empty=True))):
        with pytest.raises(ValueError, match=r'a\.png: .*broken data stream'):
            steps.load(file)


@pytest.mark.parametrize('given', ['', '  '])
def test_an_empty_path_is_no_folder(given):
    with pytest.raises(ValueError, match=f'^{given!r} is no path of an image'):
        pipeline().load(given)


@pytest.mark.parametrize(
    ('name', 'content', 'fault'),
    [
        ('none.jpg', None, 'there is no such file'),
        ('empty.jpg', b'', 'it is empty'),
        ('cut.jpg', image_files.encoded(image_files.noise(), 'JPEG')[:-200], 'it is cut off'),
        ('page.jpg', b'<html>', 'it is a web page'),
    ],
)
def test_a_broken_file_is_refused_with_its_name(name, content, fault, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name}: {fault}'):
        pipeline().load(tmp_path / name)


@pytest.mark.parametrize('name', ['a' * 5000, '~nobody-of-this-name/a.jpg', 'a\0.jpg'])
def test_what_cannot_be_a_path(name):
    with pytest.raises(ValueError, match='^.{0,203}: there is no such file') as caught:
        pipeline().load(name)
    assert len(str(caught.value)) < 250


def test_values_that_are_no_numbers_are_refused(tmp_path):
    image = np.ones((4, 5), np.float32)
    image[2, 3] = np.nan
    np.save(tmp_path / 'a.npy', image)
    for form, name in ((image, 'the array'), (tmp_path / 'a.npy', r'a\.npy')):
        with pytest.raises(ValueError, match=f'{name}: it has values that are no numbers'):
            load_image(bits=16, channels=1).load(form)


def test_a_matrix_is_an_array():
    grey = RGB[..., 0]
    loaded = pipeline().load(grey.view(np.matrix))['img']
    assert type(loaded) is np.ndarray and (loaded == grey[..., None]).all()


def test_random_numbers_stay(tmp_path):
    steps = pipeline(None, dict(type='RandomFlip', prob=0.5))
    loaded = steps.load(RGB)
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    steps.pack(loaded)
    assert np.random.rand() == expected


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(ValueError, match='it is a folder'):
        pipeline().load(tmp_path)


@pytest.mark.parametrize(
    ('image', 'fault'),
    [
        (7, 'an image is a path, an RGB array .*; got int'),
        (np.zeros((2, 3, 4, 3), np.uint8), r'shape \(2, 3, 4, 3\) is no image.*give a list'),
        (np.zeros((0, 4, 3), np.uint8), 'is no image'),
        (np.zeros((4, 5, 3)), 'an array of float64.*give .image . 255'),
        (np.zeros((4, 5, 3), bool), 'an array of bool'),
        (np.zeros((4, 5), object), 'an array of object'),
    ],
)
def test_what_is_no_image_is_refused(image, fault):
    with pytest.raises(ValueError, match=fault):
        pipeline().load(image)


def test_a_tile_is_an_image_of_its_own():
    steps = pipeline(None, dict(type='Resize', scale=(40, 20), keep_ratio=True))
    assert steps.scale == (40, 20)
    packed = steps.pack(steps.load(RGB), (4, 2, 14, 12))
    assert packed['inputs'].shape == (3, 20, 20)
    assert packed['data_samples'].ori_shape == (10, 10)
    assert pipeline().scale is None


def test_what_test_time_augmentation_does_is_known():
    sizes = [dict(type='Resize', scale=(10 * i, 20 * i)) for i in (1, 3, 2, 4)]
    flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
    steps = pipeline(None, dict(type='TestTimeAug', transforms=[sizes, flips]))
    assert steps.scale == (40, 20) and steps.random  # the lower one in the middle
    assert not pipeline(None, sizes[0]).random


def test_transforms_that_load_labels_are_left_out():
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.LoadPanopticAnnotations'),
        dict(type='TestTimeAug', transforms=[[dict(type='LoadAnnotations')], [dict(type='Pack')]]),
        dict(type='mmconvnext.LoadLabelMap'),
    ]
    kept = without_labels(steps)
    assert [step['type'] for step in kept] == ['LoadImageFromFile', 'TestTimeAug']
    assert kept[1]['transforms'] == [[dict(type='Pack')]]
    assert len(steps[2]['transforms']) == 2  # the config stays


def test_a_pipeline_without_an_image_is_refused():
    with pytest.raises(RecipeError, match=r"must begin with loading the image.*\['Resize'\]"):
        Pipeline([dict(type='Resize', scale=(4, 4))])


def test_an_image_that_is_too_thin_is_told():
    steps = pipeline(None, dict(type='Resize', scale=(256, 128), keep_ratio=True))
    with pytest.raises(ValueError, match='of 3000 x 1 pixels is too thin: .* at most 256 pixels'):
        steps.pack(steps.load(np.zeros((1, 3000, 3), np.uint8)))
    assert steps.pack(steps.load(np.zeros((6, 256, 3), np.uint8)))
