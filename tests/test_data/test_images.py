# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/images.py: headers of many files, kept, with the orientation that cv2 applies."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, colours, encoded, huge_png, tiff, turned, write
from PIL import Image

from mmconvnext.data import cache, images
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


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(('channels', 'turned_'), [(3, True), (4, True), (5, False), (8, False)])
def test_nothing_turns_a_tiff_of_many_channels(tmp_path, channels, turned_, orientation):
    """cv2 does not load it, and tifffile does not turn it."""
    array = np.zeros((HEIGHT, WIDTH, channels), np.uint8)
    file = write(tmp_path / 'a.tif', tiff(array, orientation))
    loaded = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    assert (loaded is not None) is turned_
    for turns in (True, False):
        header = read_headers([file], turns)[file]
        assert header.orientation == (orientation if turned_ else 1)
        assert header.loaded == (loaded.shape[1::-1] if turned_ else (WIDTH, HEIGHT))


@pytest.mark.parametrize('orientation', range(1, 10))
@pytest.mark.parametrize(('channels', 'dtype'), [(3, np.float32), (4, np.uint16), (2, np.uint16)])
def test_a_tiff_that_pillow_cannot_read_is_turned_too(tmp_path, channels, dtype, orientation):
    file = write(tmp_path / 'a.tif', tiff(np.zeros((HEIGHT, WIDTH, channels), dtype), orientation))
    loaded = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    for turns in (True, False):
        header = read_headers([file], turns)[file]
        assert (header.width, header.height, header.format) == (WIDTH, HEIGHT, 'TIFF')
        assert header.mode == loaded.dtype.name or channels == 4
        assert header.orientation == orientation % 9 + (orientation == 9)
        assert header.loaded == loaded.shape[1::-1]


def test_formats_that_nobody_turns(tmp_path):
    file = write(tmp_path / 'a', turned('PNG', 6))
    file.write_bytes(encoded(colours(), 'BMP'))
    assert read_headers([file])[file] == Header(WIDTH, HEIGHT, format='BMP')
    assert not images._turns('no format') and not images._turns('BMP')


def test_photographs_with_a_preview_are_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    both = [Image.fromarray(colours())] * 2
    content = encoded(both[0], 'MPO', save_all=True, append_images=both[1:], exif=exif)
    file = write(tmp_path / 'a.jpg', content)
    header = read_headers([file])[file]
    assert (header.format, header.orientation) == ('MPO', 6)
    assert cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR).shape[1::-1] == header.loaded
    assert read_headers([file], turns=False)[file].loaded == (WIDTH, HEIGHT)


def test_pillows_warnings_are_not_shown(tmp_path):
    """Those of odd EXIF; warnings are errors in these tests."""
    exif = b'Exif\0\0II*\0\x08\0\0\0\x01\0' + b'\x0f\x01\x02\0\xff\xff\0\0\xff\0\0\0'
    file = write(tmp_path / 'a.jpg', encoded(colours(), 'JPEG', exif=exif))
    with pytest.warns(UserWarning), Image.open(file) as image:
        image.getexif().get(0x10F)
    assert read_headers([file])[file].error == ''


def test_the_most_frequent_kind_is_first_and_words_have_their_number():
    headers = {Path('a.png'): Header(9, 9, format='PNG')}
    headers |= {Path(f'{i}.npy'): Header(9, 9, 1, 5, 16, 'uint16', '') for i in range(3)}
    kinds = image_kinds(headers)
    assert [str(kind) for kind in kinds] == [
        '3 uint16 files of 5 channels with 16 bits, such as 0.npy',
        '1 PNG file of 3 channels with 8 bits, such as a.png',
    ]


def test_kinds_differ_by_format_mode_channels_or_bits():
    headers = [
        Header(9, 9),
        Header(9, 9, format='PNG'),
        Header(9, 9, mode='L'),
        Header(9, 9, channels=4),
        Header(9, 9, bits=16),
        Header(4, 9, 6, several=True),  # like the first
    ]
    kinds = image_kinds({Path(f'{i}.x'): header for i, header in enumerate(headers)})
    assert sorted((kind.count, kind.first) for kind in kinds) == [
        (1, '1.x'),
        (1, '2.x'),
        (1, '3.x'),
        (1, '4.x'),
        (2, '0.x'),
    ]


def test_progress_tells_what_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, 'SILENT', -1)
    read_headers([write(tmp_path / 'a.jpg', turned('JPEG', 1))])
    assert 'image headers read: 1 of 1, ' in capsys.readouterr().out
    assert [*(tmp_path / 'cache/mmconvnext/image_headers').glob('*.json')]
