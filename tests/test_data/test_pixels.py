# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/pixels.py: channels as the loaders return them, and the largest value."""

import cv2
import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, encoded, noise, tiff, write
from PIL import Image

from mmconvnext.data.images import ImageKind, image_kinds, read_headers
from mmconvnext.data.pixels import is_darkened, largest_value, loaded_channels, needs_own_loader


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def kind_of(file):
    (kind,) = image_kinds(read_headers([file]))
    return kind


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF', 'GIF', 'BMP', 'WEBP'])
@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'])
def test_channels_are_those_of_cv2(tmp_path, kind, mode):
    try:
        content = encoded(Image.fromarray(noise()).convert(mode), kind)
    except (OSError, ValueError):
        pytest.skip(f'{kind} has no mode {mode}')
    found = kind_of(write(tmp_path / 'a', content))
    loaded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = 1 if loaded.ndim == 2 else loaded.shape[2]
    assert loaded_channels(found, 'unchanged') == expected
    assert (
        loaded_channels(found, 'color') == loaded_channels(found, 'color_ignore_orientation') == 3
    )
    assert loaded_channels(found, 'grayscale') == 1


@pytest.mark.parametrize(('channels', 'own'), [(3, False), (4, False), (5, True), (8, True)])
def test_tiff_of_many_channels_needs_our_loader(tmp_path, channels, own):
    file = write(tmp_path / 'a.tif', tiff(np.zeros((HEIGHT, WIDTH, channels), np.uint8)))
    assert needs_own_loader(kind_of(file)) is own
    assert loaded_channels(kind_of(file), 'unchanged') == channels


def test_arrays_need_our_loader(tmp_path):
    np.save(tmp_path / 'a.npy', np.full((HEIGHT, WIDTH, 6), 0.5))
    assert needs_own_loader(kind_of(tmp_path / 'a.npy'))
    assert loaded_channels(kind_of(tmp_path / 'a.npy'), 'color') == 6
    assert largest_value(kind_of(tmp_path / 'a.npy')) == 0.5


def test_the_largest_value(tmp_path):
    deep = np.full((HEIGHT, WIDTH), 7, np.uint16)
    deep[-1, -1] = 4021
    cv2.imwrite(str(tmp_path / 'a.png'), deep)
    assert largest_value(kind_of(tmp_path / 'a.png')) == 4021
    kind = kind_of(tmp_path / 'a.png')
    (tmp_path / 'a.png').unlink()
    assert largest_value(kind) is None


@pytest.mark.parametrize(
    'color_type', ['grayscale', 'grayscale_ignore_orientation', 'color', 'bgr']
)
def test_color_types_that_fix_the_channels(color_type):
    kind = ImageKind('PNG', 'RGBA', 4, 8, 1, 'gone.png')
    assert loaded_channels(kind, color_type) == (1 if 'gray' in color_type else 3)
    assert loaded_channels(kind, 'unchanged') == 4  # as the header says


@pytest.mark.parametrize(
    ('kind', 'own'),
    [
        (('NPY', 'uint8', 3), True),
        (('TIFF', '', 5), True),
        (('TIFF', 'RGBA', 4), False),
        (('PNG', 'RGBA', 5), False),
    ],
)
def test_which_files_need_our_loader(kind, own):
    assert needs_own_loader(ImageKind(*kind, 8, 1, 'gone')) is own


@pytest.mark.parametrize(
    ('suffix', 'channels', 'alpha', 'dtype', 'dark'),
    [
        ('tif', 4, 254, np.uint8, True),
        ('tif', 4, 255, np.uint8, False),
        ('tif', 4, 254, np.uint16, False),
        ('tif', 3, 0, np.uint8, False),
        ('png', 4, 254, np.uint8, False),
    ],
)
def test_cv2_darkens_a_tiff_by_its_alpha(tmp_path, suffix, channels, alpha, dtype, dark):
    array = np.full((HEIGHT, WIDTH, channels), 255, dtype)
    array[3, 5, -1] = alpha
    file = tmp_path / f'a.{suffix}'
    if dtype == np.uint8:
        write(file, encoded(array, 'TIFF' if suffix == 'tif' else 'PNG'))
    else:
        write(file, tiff(array))
    kind = kind_of(file)
    assert is_darkened(kind) is dark
    file.unlink()
    assert is_darkened(kind) is False


def test_the_largest_value_of_arrays(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([[[-7, 2], [3, -4]]], np.int16))
    assert largest_value(kind_of(tmp_path / 'a.npy')) == 3
    np.save(tmp_path / 'a.npy', np.zeros((0, 4)))
    assert largest_value(ImageKind('NPY', 'float64', 1, 64, 1, str(tmp_path / 'a.npy'))) is None
    (tmp_path / 'a.npy').write_bytes(b'\x93NUMPY')
    assert largest_value(ImageKind('NPY', 'float64', 1, 64, 1, str(tmp_path / 'a.npy'))) is None
    (tmp_path / 'a.png').write_bytes(b'')
    assert largest_value(ImageKind('PNG', 'RGB', 3, 8, 1, str(tmp_path / 'a.png'))) is None
