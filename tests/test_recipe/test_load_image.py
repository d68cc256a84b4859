# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/load_image.py: LoadImageFromFile for 8 bits; any depth and channels besides."""

import sys
import types

import cv2
import mmcv
import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, colours, encoded, noise, png_of, tiff, turned, write
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image

from mmconvnext.recipe.load_image import LoadImage
from mmconvnext.registry import TRANSFORMS

FIVE = np.random.default_rng(0).integers(0, 200, (HEIGHT, WIDTH, 5), np.uint8)


def load(file, **settings):
    return LoadImage(**settings)(dict(img_path=str(file)))


def deep(shape=(HEIGHT, WIDTH), most=4095, dtype=np.uint16):
    """Values from 0 to ``most``."""
    image = np.random.default_rng(1).integers(0, most, shape).astype(dtype)
    image.flat[:2] = 0, most
    return image


def png(file, array):
    cv2.imwrite(str(file), array)
    return file


# As LoadImageFromFile


@pytest.mark.parametrize('to_float32', [False, True])
@pytest.mark.parametrize(
    'color_type',
    ['color', 'grayscale', 'unchanged', 'color_ignore_orientation', 'grayscale_ignore_orientation'],
)
@pytest.mark.parametrize(
    ('kind', 'mode'),
    [('JPEG', 'RGB'), ('JPEG', 'L'), ('JPEG', 'CMYK'), ('PNG', 'RGBA'), ('PNG', 'LA'),
     ('PNG', 'P'), ('PNG', '1'), ('TIFF', 'RGBA'), ('TIFF', 'CMYK'), ('BMP', 'RGB')],
)  # fmt: skip
def test_eight_bits_are_loaded_as_mmcv_does(tmp_path, kind, mode, color_type, to_float32):
    file = write(tmp_path / 'a', encoded(Image.fromarray(noise()).convert(mode), kind))
    settings = dict(color_type=color_type, to_float32=to_float32)
    expected = LoadImageFromFile(**settings)(dict(img_path=str(file), img_id=7))
    for bits in (8, 12):
        found = LoadImage(bits=bits, **settings)(dict(img_path=str(file), img_id=7))
        assert sorted(found) == sorted(expected)
        assert found['img'].dtype == expected['img'].dtype
        np.testing.assert_array_equal(found.pop('img'), expected['img'])
        assert found == {key: expected[key] for key in found}


@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_images_are_turned_as_by_mmcv(tmp_path, orientation):
    file = write(tmp_path / 'a.jpg', turned('JPEG', orientation))
    expected = LoadImageFromFile()(dict(img_path=str(file)))
    np.testing.assert_array_equal(load(file)['img'], expected['img'])
    assert load(file)['ori_shape'] == expected['ori_shape']


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_other_backends(tmp_path, backend):
    file = write(tmp_path / 'a.png', encoded(colours(), 'PNG'))
    assert (load(file, imdecode_backend=backend)['img'] == colours()[..., ::-1]).all()


def test_files_are_read_through_mmengines_backends(tmp_path):
    write(tmp_path / 'there/a.png', encoded(colours(), 'PNG'))
    here, there = str(tmp_path / 'here'), str(tmp_path / 'there')
    args = dict(backend='local')
    found = LoadImage(backend_args=args)(dict(img_path=f'{there}/a.png'))
    assert found['img'].shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(FileNotFoundError):
        LoadImage(backend_args=args)(dict(img_path=f'{here}/a.png'))
    with pytest.warns(DeprecationWarning, match='file_client_args'):
        old = LoadImage(file_client_args=dict(backend='disk'))
    assert old(dict(img_path=f'{there}/a.png'))['img_shape'] == (HEIGHT, WIDTH)


def test_what_cannot_be_read(tmp_path):
    file = write(tmp_path / 'a.jpg', b'no image')
    with pytest.raises(ValueError, match='failed to load image: .*a.jpg: it is no image that'):
        load(file)
    with pytest.raises(ValueError, match='failed to load image: .*c.png: broken data stream'):
        load(write(tmp_path / 'c.png', png_of(bytes(50))))
    with pytest.raises(FileNotFoundError):
        load(tmp_path / 'b.jpg')
    assert load(tmp_path / 'b.jpg', ignore_empty=True) is None
    np.save(tmp_path / 'a.npy', np.zeros((4, 4)))
    cut = write(tmp_path / 'b.npy', (tmp_path / 'a.npy').read_bytes()[:-9])
    with pytest.raises(ValueError, match=r'failed to load image: \S+b\.npy: .+'):
        load(cut)
    assert load(cut, ignore_empty=True) is None


# Depth


@pytest.mark.parametrize('bits', [9, 10, 12, 14, 16])
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('shape', [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
def test_values_are_scaled_to_255(tmp_path, bits, suffix, shape):
    given = deep(shape, 2**bits - 1)
    image = load(png(tmp_path / f'a{suffix}', given), bits=bits)['img']
    assert image.dtype == np.float32 and image.shape == (HEIGHT, WIDTH, 3)
    assert image.min() == 0 and image.max() == pytest.approx(255)
    expected = given / (2**bits - 1) * 255
    expected = expected if len(shape) == 3 else np.dstack([expected] * 3)
    np.testing.assert_allclose(image, expected, rtol=1e-6, atol=1e-5)


def test_twelve_bits_are_as_bright_as_their_eight(tmp_path):
    """The mean of the same picture is the same, so mean and std of a recipe fit."""
    eight = colours()[..., ::-1]
    twelve = (eight.astype(np.uint32) * 4095 // 255).astype(np.uint16)
    png(tmp_path / 'a.png', eight)
    png(tmp_path / 'b.png', twelve)
    assert (
        np.abs(load(tmp_path / 'a.png')['img'] - load(tmp_path / 'b.png', bits=12)['img']).max()
        < 0.1
    )
    dark = LoadImageFromFile()(dict(img_path=str(tmp_path / 'b.png')))['img']
    assert dark.max() <= 15  # what mmcv makes of it


@pytest.mark.parametrize(
    'color_type', ['color', 'grayscale', 'unchanged', 'color_ignore_orientation']
)
def test_depth_is_kept_with_every_color_type(tmp_path, color_type):
    file = png(tmp_path / 'a.png', deep((HEIGHT, WIDTH, 3)))
    image = load(file, bits=12, color_type=color_type)['img']
    assert image.dtype == np.float32 and 200 < image.max() <= 255.01
    assert image.ndim == (2 if color_type == 'grayscale' else 3)


@pytest.mark.parametrize(
    ('bits', 'most', 'fits'), [(10, 1023, True), (10, 1024, False), (8, 255, True), (8, 256, False)]
)
def test_larger_values_than_the_bits_allow(tmp_path, bits, most, fits):
    file = png(tmp_path / 'a.png', deep(most=most))
    if fits:
        assert load(file, bits=bits)['img'].max() == pytest.approx(255)
        return
    message = rf'a.png has values from 0 to {most}, but bits={bits} allows 0 to {2**bits - 1}: '
    message += '.*own_data.bits'
    with pytest.raises(ValueError, match=message):
        load(file, bits=bits)
    with pytest.raises(ValueError, match=message):
        load(file, bits=bits, ignore_empty=True)


def test_the_default_is_eight_bits(tmp_path):
    with pytest.raises(ValueError, match='bits=8 allows 0 to 255'):
        load(png(tmp_path / 'a.png', deep()))


def test_negative_values(tmp_path):
    np.save(tmp_path / 'a.npy', np.full((4, 4), -1, np.int16))
    with pytest.raises(ValueError, match='values from -1 to -1, but bits=12'):
        load(tmp_path / 'a.npy', bits=12, color_type='unchanged')


@pytest.mark.parametrize('bits', [7, 17, 12.0, '12', None, True])
def test_wrong_bits(bits):
    with pytest.raises(ValueError, match='of LoadImage: choose 8 to 16'):
        LoadImage(bits=bits)


@pytest.mark.parametrize('backend', ['pillow', 'turbojpeg'])
def test_backends_of_eight_bits(backend):
    LoadImage(imdecode_backend=backend)
    with pytest.raises(ValueError, match=f"imdecode_backend='{backend}' loads 8 bits; bits=12"):
        LoadImage(bits=12, imdecode_backend=backend)


# Channels


def test_arrays_come_as_cv2_would_load_them(tmp_path):
    np.save(tmp_path / 'a.npy', FIVE)
    image = load(tmp_path / 'a.npy', color_type='unchanged', channels=5)['img']
    np.testing.assert_array_equal(image, FIVE[..., [2, 1, 0, 3, 4]])
    write(tmp_path / 'a.tif', tiff(FIVE[..., :4]))
    write(tmp_path / 'a.png', encoded(FIVE[..., :4], 'PNG'))
    np.save(tmp_path / 'b.npy', FIVE[..., :4])
    images = [
        load(tmp_path / n, color_type='unchanged')['img'] for n in ('a.tif', 'a.png', 'b.npy')
    ]
    assert all((image == FIVE[..., [2, 1, 0, 3]]).all() for image in images)


@pytest.mark.parametrize('settings', [{}, dict(compression='tiff_lzw'), dict(tiffinfo={274: 6})])
def test_a_fourth_channel_leaves_the_others_as_they_are(tmp_path, settings):
    """cv2 multiplies the colours of a TIFF by its alpha, which may be near infrared."""
    given = np.dstack([colours(), noise()[..., 0]])
    file = write(tmp_path / 'a.tif', encoded(given, 'TIFF', **settings))
    image = load(file, color_type='unchanged')['img']
    expected = given[..., [2, 1, 0, 3]]
    expected = np.rot90(expected, -1) if 'tiffinfo' in settings else expected
    np.testing.assert_array_equal(image, expected)
    assert (cv2.imread(str(file), cv2.IMREAD_UNCHANGED) != expected).any()
    inks = Image.fromarray(noise()).convert('CMYK')
    file = write(tmp_path / 'b.tif', encoded(inks, 'TIFF'))
    assert (load(file, color_type='unchanged')['img'] == cv2.imread(str(file), -1)).all()


@pytest.mark.parametrize('shape', [(6, 4), (6, 4, 1), (6, 4, 2)])
def test_arrays_of_few_channels_stay(tmp_path, shape):
    given = deep(shape, 99, np.float32)
    np.save(tmp_path / 'a.npy', given)
    found = load(tmp_path / 'a.npy', color_type='unchanged')
    assert (found['img'] == given).all() and found['img'].dtype == np.float32
    assert found['img_shape'] == found['ori_shape'] == (6, 4)


def test_arrays_with_code_are_refused(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match='allow_pickle=False'):
        load(tmp_path / 'a.npy')


@pytest.mark.parametrize(('channels', 'fits'), [(None, True), (4, True), (3, False), (5, False)])
def test_another_number_of_channels_is_refused(tmp_path, channels, fits):
    file = write(tmp_path / 'a.png', encoded(FIVE[..., :4], 'PNG'))
    if fits:
        assert load(file, color_type='unchanged', channels=channels)['img'].shape[2] == 4
        return
    with pytest.raises(
        ValueError,
        match=f'a.png has 4 channels when it is loaded, not {channels}: .*own_data.channels',
    ):
        load(file, color_type='unchanged', channels=channels)


@pytest.mark.parametrize('channels', [0, -1, 3.0, '4'])
def test_wrong_channels(channels):
    with pytest.raises(ValueError, match='of LoadImage: choose None, 1 or more'):
        LoadImage(channels=channels)


@pytest.mark.parametrize('planes', [False, True])
@pytest.mark.parametrize('backend', ['cv2', 'tifffile'])
def test_tiff_of_many_channels_needs_tifffile(tmp_path, monkeypatch, planes, backend):
    """A stand-in for tifffile: its page gives (C, H, W) with axes SYX, or (H, W, C)."""
    file = write(tmp_path / 'a.tif', tiff(FIVE))
    settings = dict(color_type='unchanged', channels=5, imdecode_backend=backend)
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    with pytest.raises(
        ValueError, match='at most 4 channels of a TIFF; for more, pip install tifffile'
    ):
        load(file, **settings)

    class Tiff:
        def __init__(self, content):
            assert content.read() == file.read_bytes()
            array = np.moveaxis(FIVE, -1, 0) if planes else FIVE
            self.pages = [
                types.SimpleNamespace(asarray=lambda: array, axes='SYX' if planes else 'YXS')
            ]

        def __enter__(self):
            return self

        def __exit__(self, *args):
            pass

    monkeypatch.setitem(sys.modules, 'tifffile', types.SimpleNamespace(TiffFile=Tiff))
    np.testing.assert_array_equal(load(file, **settings)['img'], FIVE[..., [2, 1, 0, 3, 4]])


def test_its_name_in_a_config():
    settings = dict(bits=12, channels=1, color_type='grayscale')
    built = TRANSFORMS.build(dict(type='mmconvnext.LoadImage', **settings))
    assert type(built) is LoadImage
    assert "color_type='grayscale'" in repr(built) and repr(built).endswith('bits=12, channels=1)')


# Pictures to draw on


@pytest.mark.parametrize(
    ('array', 'settings', 'expected'),
    [
        (deep((6, 4)), dict(bits=12), lambda a: np.dstack([a / 4095 * 255] * 3)),
        (deep((6, 4, 3)), dict(bits=12), lambda a: a / 4095 * 255),
        (FIVE[..., :4], dict(color_type='unchanged'), lambda a: a[..., :3]),
        (FIVE[..., 0], dict(color_type='grayscale'), lambda a: np.dstack([a] * 3)),
    ],
)  # fmt: skip
def test_pictures_are_of_eight_bits_and_three_channels(tmp_path, array, settings, expected):
    png(tmp_path / 'a.png', array)
    args = dict(backend='mmconvnext.Picture', **settings)
    drawn = mmcv.imfrombytes(fileio.get(str(tmp_path / 'a.png'), backend_args=args))
    assert drawn.dtype == np.uint8 and np.abs(drawn - expected(array)).max() <= 0.5


@pytest.mark.parametrize(
    ('array', 'low', 'high'),
    [
        (np.linspace(0, 1, 12), 0, 255),
        (np.linspace(-9, 4000, 12), 0, 255),
        (np.linspace(3, 200, 12), 3, 200),
        (np.zeros(12), 0, 0),
    ],
)
def test_pictures_of_floats(tmp_path, array, low, high):
    np.save(tmp_path / 'a.npy', array.reshape(4, 3).astype(np.float32))
    args = dict(backend='mmconvnext.Picture', color_type='unchanged')
    drawn = mmcv.imfrombytes(fileio.get(str(tmp_path / 'a.npy'), backend_args=args))
    assert (drawn.min(), drawn.max()) == (low, high)
