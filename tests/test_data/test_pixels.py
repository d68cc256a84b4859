# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/pixels.py: channels as the loaders return them, and the largest value."""

import cv2
import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, encoded, noise, tiff, write
from PIL import Image

from mmconvnext.data.images import image_kinds, read_headers
from mmconvnext.data.pixels import largest_value, loaded_channels, needs_own_loader


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
