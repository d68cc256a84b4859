# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/images.py: headers of many files, kept, with the orientation that cv2 applies."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, colours, encoded, huge_png, turned, write
from PIL import Image

from mmconvnext.data import images
from mmconvnext.data.images import TURNS, Header, image_kinds, read_headers


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def opened(monkeypatch):
    """The files whose headers were read."""
    names, real = [], images.read_header
    monkeypatch.setattr(images, 'read_header', lambda file: names.append(file.name) or real(file))
    return names


def test_the_second_time_nothing_is_read(tmp_path, opened):
    files = [write(tmp_path / f'{i}.jpg', turned('JPEG', i)) for i in (1, 6, 3)]
    first = read_headers(files)
    assert list(first) == files and sorted(opened) == ['1.jpg', '3.jpg', '6.jpg']
    opened.clear()
    assert read_headers(files) == first and not opened
    assert [header.orientation for header in first.values()] == [1, 6, 3]
    write(files[0], turned('PNG', 8))
    assert read_headers(files)[files[0]].orientation == 8 and opened == ['1.jpg']


def test_broken_files_are_read_again(tmp_path, opened):
    file = write(tmp_path / 'a.jpg', b'')
    assert read_headers([file])[file].error == 'it is empty'
    assert read_headers([file])[file].error == 'it is empty'
    assert opened == ['a.jpg'] * 2


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP', 'AVIF'])
@pytest.mark.parametrize('turns', [True, False])
def test_images_are_turned_as_cv2_turns_them(tmp_path, kind, orientation, turns):
    """The orientation that is returned makes the loaded image of the stored one."""
    try:
        file = write(tmp_path / 'a', turned(kind, orientation))
    except (OSError, KeyError):
        pytest.skip(f'this Pillow does not write {kind}')
    flag = cv2.IMREAD_COLOR if turns else cv2.IMREAD_UNCHANGED
    loaded = cv2.imdecode(np.fromfile(file, np.uint8), flag)
    if loaded is None:
        pytest.skip(f'this cv2 does not read {kind}')
    header = read_headers([file], turns)[file]
    assert header.loaded == loaded.shape[1::-1]
    expected = np.zeros((*header.loaded[::-1], 3), np.uint8)
    move = TURNS.get(header.orientation, lambda x, y, w, h: (x, y))
    for y, row in enumerate(colours()):
        for x, colour in enumerate(row):
            to = move(x + 0.5, y + 0.5, WIDTH, HEIGHT)  # the middle of a pixel
            expected[int(to[1]), int(to[0])] = colour[::-1]
    # JPEG, WebP and AVIF do not keep colours exactly.
    assert np.abs(expected.astype(int) - loaded).mean() < 12


def test_pillows_limit_is_lifted_and_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    files = [
        write(tmp_path / 'a.png', huge_png(20_000, 20_000)),
        write(tmp_path / 'b.png', huge_png(40_000, 40_000)),
    ]
    small, large = read_headers(files).values()
    assert (small.width, small.error) == (20_000, '')
    assert 'it has 40000 x 40000 pixels' in large.error
    assert Image.MAX_IMAGE_PIXELS == 100


def test_warnings_work_afterwards(tmp_path):
    """Threads that change the filters of warnings by turns would leave them changed."""
    files = [write(tmp_path / f'{i}.jpg', encoded(colours(), 'JPEG')) for i in range(200)]
    before = list(warnings.filters)
    read_headers(files)
    assert list(warnings.filters) == before


def test_kinds_are_counted(tmp_path):
    headers = {
        Path('a.png'): Header(9, 9, 1, 1, 16, 'I;16', 'PNG'),
        Path('b.jpg'): Header(9, 9),
        Path('c.jpg'): Header(8, 5, 6),
        Path('d.jpg'): Header(0, 0, format='', error='it is empty'),
    }
    jpeg, png = image_kinds(headers)
    assert (jpeg.format, jpeg.channels, jpeg.bits, jpeg.count, jpeg.first) == (
        'JPEG',
        3,
        8,
        2,
        'b.jpg',
    )
    assert str(png) == '1 PNG file of 1 channel with 16 bits, such as a.png'
    assert image_kinds({}) == []
