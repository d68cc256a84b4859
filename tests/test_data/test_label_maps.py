# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/label_maps.py: maps are read as mmseg reads them, and again only if they change."""

import io
import json
import os
import re

import cv2
import numpy as np
import pytest
from mmcv import imread
from PIL import Image

from mmconvnext.data import cache, label_maps
from mmconvnext.data.label_maps import (
    packed,
    read_label_map,
    read_label_maps,
    read_pixels,
    unpacked,
)

IDS = np.array([[0, 1, 1], [7, 1, 255]], dtype=np.uint8)


@pytest.fixture
def cached(cache_home):
    return cache_home / 'label_maps'


def kept(cached):
    return cached.glob('*.json')


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that were decoded."""
    names, real = [], label_maps.read_label_map
    monkeypatch.setattr(
        label_maps, 'read_label_map', lambda file: names.append(file.name) or real(file)
    )
    return names


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / 'maps' / name for name in ('a.png', 'b.png', 'sub/a.png')]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), i, dtype=np.uint8)).save(path)
    return paths


def palette(ids):
    image = Image.fromarray(ids, mode='P')
    image.putpalette([200] * 768)
    return image


IMAGES = {
    'grey': Image.fromarray(IDS),
    'palette': palette(IDS),
    '16 bit': Image.fromarray(IDS.astype(np.uint16) * 257),
    '32 bit': Image.fromarray(IDS.astype(np.int32) * 1000),
    'negative': Image.fromarray(IDS.astype(np.int32) - 300),
    'whole floats': Image.fromarray(IDS.astype(np.float32) - 1),
    '1 bit': Image.fromarray(IDS > 1),
    'zeros': Image.fromarray(np.zeros_like(IDS)),
}


@pytest.mark.parametrize('image', IMAGES.values(), ids=IMAGES)
def test_ids_are_those_that_mmseg_reads(tmp_path, image):
    file = tmp_path / 'a.tif'
    image.save(file)
    pixels = imread(str(file), flag='unchanged', backend='pillow').astype(int)
    found = read_label_map(file)
    assert found.ids == tuple(np.unique(pixels))
    assert (found.width, found.height, found.kind, found.error) == (3, 2, 'TIFF', '')
    assert not found.is_reducible and not found.is_coloured
    assert np.array_equal(read_pixels(file.read_bytes()), pixels)


def encoded(array, mode=None, **save) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array, mode).save(stream, **{'format': 'PNG', **save})
    return stream.getvalue()


def numpy_file(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


EQUAL = np.dstack([IDS] * 3)
ALPHA = np.full_like(IDS, 255)
FORMS = {
    'RGB': encoded(EQUAL),
    'RGBA': encoded(np.dstack([EQUAL, ALPHA])),
    'RGBA, transparent': encoded(np.dstack([EQUAL, IDS])),
    'LA': encoded(np.dstack([IDS, ALPHA])),
    'LA, transparent': encoded(np.dstack([IDS, IDS])),
    'npy': numpy_file(IDS),
    'npy of one channel': numpy_file(IDS[..., None]),
    'npy of one channel, first': numpy_file(IDS[None]),
    'npy of int64': numpy_file(IDS.astype(np.int64)),
    'npy of floats': numpy_file(IDS.astype(np.float32)),
    'npy of R = G = B': numpy_file(EQUAL),
}


@pytest.mark.parametrize('data', FORMS.values(), ids=FORMS)
def test_ids_in_other_forms_can_be_reduced(tmp_path, data):
    (tmp_path / 'a.png').write_bytes(data)
    found = read_label_map(tmp_path / 'a.png')
    assert (found.ids, found.width, found.height, found.error) == ((0, 1, 7, 255), 3, 2, '')
    assert found.is_reducible and not found.is_coloured
    assert np.array_equal(read_pixels(data), IDS)


COLOURS = np.zeros((2, 3, 3), np.uint8)
COLOURS[0, 1], COLOURS[1, 2], COLOURS[0, 0] = (128, 0, 64), (128, 0, 64), (1, 2, 3)
BY_COUNT = ((0, 0, 0), (128, 0, 64), (1, 2, 3))


@pytest.mark.parametrize(
    'data',
    [encoded(COLOURS), encoded(np.dstack([COLOURS, ALPHA])), numpy_file(COLOURS)],
    ids=['RGB', 'RGBA', 'npy'],
)
def test_colours_by_how_often_they_come(tmp_path, data):
    (tmp_path / 'a.png').write_bytes(data)
    found = read_label_map(tmp_path / 'a.png')
    assert (found.colours, found.ids) == (BY_COUNT, ())
    assert found.is_coloured and not found.is_reducible
    assert np.array_equal(read_pixels(data, in_colour=True), packed(COLOURS))
    with pytest.raises(ValueError, match=r'colours such as \(1, 2, 3\), not ids'):
        read_pixels(data)


def test_no_more_than_257_colours_are_kept(tmp_path):
    many = np.zeros((1, 300, 3), np.uint8)
    many[0, :, 0], many[0, :, 1] = np.arange(300) % 256, np.arange(300) // 256 + 1
    (tmp_path / 'a.png').write_bytes(encoded(many))
    assert len(read_label_map(tmp_path / 'a.png').colours) == 257


def test_a_palette_has_the_colours_of_its_ids(tmp_path):
    image = Image.fromarray(np.array([[0, 2, 200]], np.uint8), mode='P')
    image.putpalette([5, 6, 7, 0, 0, 0, 8, 9, 10])
    image.save(tmp_path / 'a.tif')
    found = read_label_map(tmp_path / 'a.tif')
    assert (found.ids, found.in_colour) == ((0, 2, 200), ((5, 6, 7), (8, 9, 10), (0, 0, 0)))
    assert not found.is_coloured
    pixels = read_pixels((tmp_path / 'a.tif').read_bytes(), in_colour=True)
    assert [unpacked(int(number)) for number in pixels[0]] == list(found.in_colour)


def test_grey_is_a_colour_too(tmp_path):
    for name, image, grey in (
        ('L', Image.fromarray(IDS), (0, 1, 7, 255)),
        ('1', Image.fromarray(IDS > 1), (0, 255)),
    ):
        image.save(tmp_path / f'{name}.png')
        assert read_label_map(tmp_path / f'{name}.png').in_colour == tuple((g,) * 3 for g in grey)
        pixels = read_pixels((tmp_path / f'{name}.png').read_bytes(), in_colour=True)
        assert np.unique(pixels).tolist() == [g * 0x10101 for g in grey]


def test_the_file_of_a_label_map_is_never_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IDS).save(tmp_path / 'a.png', exif=exif)
    found = read_label_map(tmp_path / 'a.png')
    assert (found.width, found.height) == (3, 2)
    assert np.array_equal(read_pixels((tmp_path / 'a.png').read_bytes()), IDS)


def test_jpeg_files_are_known(tmp_path):
    Image.fromarray(IDS).save(tmp_path / 'a.png', format='JPEG')
    assert read_label_map(tmp_path / 'a.png').kind == 'JPEG'


HALF = IDS.astype(np.float32)
HALF[1, 0] = 1.5


@pytest.mark.parametrize(
    ('data', 'error'),
    [
        (
            encoded(np.dstack([EQUAL, IDS])[..., [0, 1, 2, 0]], 'CMYK', format='TIFF'),
            'CMYK, not RGB',
        ),
        (encoded(HALF, format='TIFF'), r'it holds 1\.5, not whole numbers'),
        (numpy_file(HALF), r'it holds 1\.5, not whole numbers'),
        (numpy_file(HALF * np.nan), 'it holds nan, not whole numbers'),
        (numpy_file(np.zeros((2, 3, 5), np.uint8)), r'uint8 of shape \(2, 3, 5\)'),
        (numpy_file(np.zeros((2, 3, 3), np.int64)), r'int64 of shape \(2, 3, 3\)'),
        (numpy_file(np.array([['a']])), 'its pixels are <U1, not whole numbers'),
        (numpy_file(np.array([[{}]])), 'pickle'),
        (numpy_file(IDS)[:-2], ''),
        (encoded(np.dstack([np.zeros_like(IDS), IDS])), 'colour is 0 everywhere, only its alpha'),
        (encoded(np.dstack([EQUAL * 0 + 9, IDS])), 'colour is 9 everywhere, only its alpha'),
    ],
)
def test_what_holds_no_ids_says_why(tmp_path, data, error):
    (tmp_path / 'a.png').write_bytes(data)
    found = read_label_map(tmp_path / 'a.png')
    assert re.search(f'Error: .*{error}', found.error) and not found.ids


def test_channels_of_16_bits_are_refused(tmp_path):
    # Pillow reads the upper half of each, which is 0 for all ids.
    cv2.imwrite(str(tmp_path / 'a.png'), EQUAL.astype(np.uint16))
    assert 'channels have 16 bits' in read_label_map(tmp_path / 'a.png').error
    with pytest.raises(ValueError, match='channels have 16 bits'):
        read_pixels((tmp_path / 'a.png').read_bytes())


@pytest.mark.parametrize(
    ('data', 'error'),
    [
        (b'', 'it is empty'),
        (b'version https://git-lfs.github.com/spec/v1', 'it is a pointer of Git LFS'),
        (b'PK\x03\x04' + bytes(99), 'it is no image'),
    ],
)
def test_files_that_are_no_images_say_what_they_are(tmp_path, data, error):
    (tmp_path / 'a.png').write_bytes(data)
    assert read_label_map(tmp_path / 'a.png').error.startswith(error)


@pytest.mark.parametrize('keep', [0, 20, -200])
def test_files_that_cannot_be_read_say_why(tmp_path, keep):
    file = tmp_path / 'a.png'
    assert 'FileNotFoundError' in read_label_map(file).error
    noise = np.random.default_rng(0).integers(0, 9, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:keep])
    content = read_label_map(file)
    assert content.error and not content.ids


def test_the_second_time_nothing_is_decoded(files, opened):
    first = read_label_maps(files)
    assert [content.ids for content in first.values()] == [(0,), (1,), (2,)]
    assert sorted(opened) == ['a.png', 'a.png', 'b.png']
    opened.clear()
    assert read_label_maps(files) == first
    assert list(first) == files
    assert not opened


@pytest.mark.parametrize('change', ['size', 'time'])
def test_a_changed_file_is_read_again(files, opened, change):
    read_label_maps(files)
    opened.clear()
    stat = files[1].stat()
    if change == 'size':
        Image.fromarray(np.arange(99, dtype=np.uint8)[None]).save(files[1])
        os.utime(files[1], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        os.utime(files[1], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    content = read_label_maps(files)
    assert opened == ['b.png']
    assert content[files[1]].ids == (tuple(range(99)) if change == 'size' else (1,))


def test_what_cannot_be_read_is_not_remembered(files, opened):
    good = files[0].read_bytes()
    files[0].write_bytes(good[:30].ljust(len(good), b'x'))
    stat = files[0].stat()
    assert read_label_maps(files)[files[0]].error
    files[0].write_bytes(good)
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read_label_maps(files)[files[0]].ids == (0,)


def test_files_that_are_gone_are_forgotten(files, cached):
    read_label_maps(files)
    files[0].unlink()
    Image.fromarray(IDS).save(files[1].with_name('c.png'))
    read_label_maps([files[1], files[1].with_name('c.png')])
    names = {name for file in kept(cached) for name in json.loads(file.read_text())['files']}
    assert names == {'a.png', 'b.png', 'c.png'}  # a.png of the other folder
    assert read_label_maps(files)[files[0]].error


def test_nothing_is_written_beside_the_data(files, tmp_path):
    before = sorted(tmp_path.rglob('*'))
    read_label_maps(files)
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize(
    'facts',
    [
        [[1], [], 'L', 'PNG', 4, 4],
        [['a'], [], 'L', 'PNG', 4, 4, ''],
        [[1], [[1, 2]], 'L', 'PNG', 4, 4, ''],
        [[1], [], None, 'PNG', 4, 4, ''],
        [[1], [], 'L', 'PNG', 4, '4', ''],
        [None, [], 'L', 'PNG', 4, 4, ''],
    ],
)
def test_a_damaged_cache_is_no_cache(files, cached, facts):
    first = read_label_maps(files)
    for file in kept(cached):
        content = json.loads(file.read_text())
        for entry in content['files'].values():
            entry[1] = facts
        file.write_text(json.dumps(content))
    assert read_label_maps(files) == first


def test_the_cache_is_used(files, cached):
    read_label_maps(files)
    for file in kept(cached):
        file.write_text(file.read_text().replace('[[0], []', '[[9], []'))
    assert [content.ids for content in read_label_maps(files).values()] == [(9,), (1,), (2,)]


def test_progress_is_told_for_large_sets_only(files, capsys, monkeypatch):
    read_label_maps(files)
    assert capsys.readouterr().out == ''
    monkeypatch.setattr(cache, 'SILENT', -1)
    os.utime(files[2])
    read_label_maps(files)
    assert 'label maps read: ' in capsys.readouterr().out
