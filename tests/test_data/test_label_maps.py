# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/label_maps.py: maps are read as mmseg reads them, and again only if they change."""

import io
import json
import os
import re
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest
from image_files import png_chunk, write
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


# Single forms


def labels_of(tmp_path, data) -> label_maps.LabelMap:
    (tmp_path / 'a.png').write_bytes(data)
    return read_label_map(tmp_path / 'a.png')


def test_what_cannot_be_read_has_no_size_and_no_colours(tmp_path):
    found = labels_of(tmp_path, b'')
    assert (found.width, found.height, found.ids, found.colours) == (0, 0, (), ())
    assert not found.is_coloured and not found.is_reducible and found.in_colour == ()


@pytest.mark.parametrize('mode', ['LA', 'PA'])
def test_grey_and_palettes_with_alpha_in_a_tiff(tmp_path, mode):
    image = Image.merge('LA', [Image.fromarray(IDS), Image.fromarray(ALPHA)])
    if mode == 'PA':
        image = palette(IDS).convert('PA')
        image.putalpha(200)
    stream = io.BytesIO()
    image.save(stream, 'TIFF')
    found = labels_of(tmp_path, stream.getvalue())
    assert (found.mode, found.ids, found.error) == (mode, (0, 1, 7, 255), '')
    assert found.is_reducible and np.array_equal(read_pixels(stream.getvalue()), IDS)


@pytest.mark.parametrize('colour', [(5, 5, 6), (5, 6, 5), (6, 5, 5)])
def test_one_channel_that_differs_is_a_colour(tmp_path, colour):
    array = np.zeros((2, 3, 3), np.uint8)
    array[1, 2] = colour
    for data in (encoded(array), numpy_file(array)):
        found = labels_of(tmp_path, data)
        assert found.is_coloured and found.colours == ((0, 0, 0), colour)
        with pytest.raises(ValueError, match=re.escape(f'colours such as {colour}, not ids')):
            read_pixels(data)


def test_equally_frequent_colours_are_in_order(tmp_path):
    array = np.array([[(9, 1, 1), (2, 200, 1), (2, 3, 200)]], np.uint8)
    assert labels_of(tmp_path, encoded(array)).colours == ((2, 3, 200), (2, 200, 1), (9, 1, 1))


@pytest.mark.parametrize('many', [255, 256, 257])
def test_of_many_colours_the_most_frequent_are_kept(tmp_path, many):
    numbers = np.arange(many)
    array = np.dstack([numbers % 256, numbers // 256 + 1, 0 * numbers]).astype(np.uint8)
    array = np.concatenate([array, array[:, :5]], axis=1)
    found = labels_of(tmp_path, encoded(array))
    assert len(found.colours) == many
    assert found.colours[:5] == tuple((i, 1, 0) for i in range(5))  # they come twice


@pytest.mark.parametrize('alpha', [0, 9, 255])
def test_alpha_that_is_the_same_everywhere_says_nothing(tmp_path, alpha):
    one = np.full_like(IDS, 3)
    for data in (
        encoded(np.dstack([one, np.full_like(IDS, alpha)])),
        encoded(np.dstack([one] * 3 + [np.full_like(IDS, alpha)])),
    ):
        found = labels_of(tmp_path, data)
        assert (found.ids, found.error) == ((3,), '')


def png16(channels: int, kind: int) -> bytes:
    """A PNG (2, 3) of 16-bit channels; `kind` is the colour type of PNG."""

    def chunk(name, content):
        check = struct.pack('>I', zlib.crc32(name + content))
        return struct.pack('>I', len(content)) + name + content + check

    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in np.repeat(IDS, channels, axis=1))
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', 3, 2, 16, kind, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


@pytest.mark.parametrize(('channels', 'kind'), [(2, 4), (3, 2), (4, 6)])
def test_several_channels_of_16_bits_are_refused(tmp_path, channels, kind):
    assert 'channels have 16 bits; write one' in labels_of(tmp_path, png16(channels, kind)).error
    with pytest.raises(ValueError, match='channels have 16 bits; write one'):
        read_pixels(png16(channels, kind))
    assert labels_of(tmp_path, png16(1, 0)).ids == (0, 1, 7, 255)


@pytest.mark.parametrize(
    ('array', 'ids', 'size'),
    [
        (np.array([[7, 3, 9]])[..., None], (3, 7, 9), (3, 1)),
        (np.array([[7, 3, 9]]).T[None], (3, 7, 9), (3, 1)),  # (H, W, 1) rather than (1, H, W)
        (np.array([[7, 3, 9], [7, 0, 0]]).T[None], (0, 3, 7, 9), (2, 3)),
        (np.array([[2**40, -7, 3]]), (-7, 3, 2**40), (3, 1)),
        (np.array([[2**16, 2**16 - 1]], np.uint32), (2**16 - 1, 2**16), (2, 1)),
        (np.array([[True, False, True]]), (0, 1), (3, 1)),
        (np.array([[-0.0, 2.0, 1e3]]), (0, 2, 1000), (3, 1)),
    ],
)
def test_arrays_of_any_whole_numbers(tmp_path, array, ids, size):
    found = labels_of(tmp_path, numpy_file(array))
    assert (found.ids, (found.width, found.height), found.error) == (ids, size, '')
    assert all(type(i) is int for i in found.ids)


def test_arrays_with_alpha_are_colours(tmp_path):
    data = numpy_file(np.dstack([COLOURS, ALPHA]))
    assert labels_of(tmp_path, data).colours == BY_COUNT
    assert labels_of(tmp_path, data).kind == 'NPY'
    assert np.array_equal(read_pixels(data, in_colour=True), packed(COLOURS))


def test_large_maps_are_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 4)
    assert labels_of(tmp_path, encoded(IDS)).ids == (0, 1, 7, 255)


def test_a_colour_is_one_number():
    assert packed((1, 2, 3)) == 0x010203 and packed((255, 0, 128)) == 0xFF0080
    assert unpacked(0x010203) == (1, 2, 3) and unpacked(0xFF0080) == (255, 0, 128)
    assert packed(COLOURS).shape == (2, 3)


def test_other_processes_wait_for_the_first(files, cached, capsys):
    with cache.locked(cached / 'reading'):
        thread = threading.Thread(target=read_label_maps, args=[files])
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and not [*kept(cached)]
    thread.join()
    assert [*kept(cached)]
    assert 'waiting for another process that works on reading' in capsys.readouterr().out


def test_a_map_with_too_many_profiles_is_not_decoded(tmp_path):
    content = encoded(np.zeros((2, 3), np.uint8))
    profiles = png_chunk(b'iCCP', b'a\0\0') * 11
    file = write(tmp_path / 'a.png', content[:33] + profiles + content[33:])
    assert read_label_map(file).error.startswith('it has more than 10 iCCP chunks')
