# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/complete.py: whether a file lacks its end, without decoding it."""

import zlib

import cv2
import numpy as np
import pytest
from image_files import colours, encoded, noise, turned, write
from PIL import Image

from mmconvnext.data import complete
from mmconvnext.data.complete import crowded, png_end, seems_cut


@pytest.mark.parametrize('kind', ['BMP', 'GIF', 'JPEG', 'JPEG2000', 'WEBP'])
def test_the_end_of(tmp_path, kind):
    content = encoded(noise(), kind)
    file = write(tmp_path / 'a', content)
    assert not seems_cut(kind, {}, file)
    write(file, content[:-1])
    assert seems_cut(kind, {}, file)


@pytest.mark.parametrize('settings', [{}, dict(compression='tiff_lzw')])
def test_strips_of_a_tiff(tmp_path, settings):
    file = write(tmp_path / 'a.tif', encoded(noise(), 'TIFF', **settings))
    with Image.open(file) as image:
        tags = dict(image.tag_v2)
    assert not seems_cut('TIFF', tags, file)
    assert not seems_cut('TIFF', {}, file)
    last = tags[273][-1] + tags[279][-1]
    file.write_bytes(file.read_bytes()[:last])
    assert not seems_cut('TIFF', tags, file)
    file.write_bytes(file.read_bytes()[: last - 1])
    assert seems_cut('TIFF', tags, file)


def test_other_formats_have_to_be_decoded(tmp_path):
    assert seems_cut('AVIF', {}, write(tmp_path / 'a', b'content'))


def test_a_mark_far_before_the_end_does_not_count(tmp_path):
    file = write(tmp_path / 'a.gif', encoded(noise(), 'GIF') + b'\0' * 63)
    assert not seems_cut('GIF', {}, file)
    write(file, file.read_bytes() + b'\0')
    assert seems_cut('GIF', {}, file)


@pytest.mark.parametrize('kind', ['JPEG', 'MPO'])
@pytest.mark.parametrize('settings', [{}, dict(progressive=True)])
def test_telephones_append_films_to_a_jpeg(tmp_path, kind, settings):
    exif = Image.Exif()
    exif[0x927C] = b'\xff\xd9' * 20  # as in a thumbnail
    content = encoded(noise(), 'JPEG', exif=exif, **settings)
    assert content.count(b'\xff\xd9') > 20
    file = write(tmp_path / 'a.jpg', content + b'film' * 10_000)
    assert not seems_cut(kind, {}, file)
    for size in (len(content) - 2, len(content) // 2, content.index(b'\xff\xd9') + 2, 30, 2, 0):
        assert seems_cut(kind, {}, write(file, content[:size] + b'film' * 10_000))


def test_chunks_of_a_png(tmp_path):
    content = turned('PNG', 6)
    file = write(tmp_path / 'a.png', content)
    found = png_end(file)
    assert found.complete and Image.Exif().get(0x112) is None
    exif = Image.Exif()
    exif.load(found.exif)
    assert exif[0x112] == 6
    for missing in (1, 12, len(content) - 9, len(content)):
        assert not png_end(write(file, content[: len(content) - missing])).complete
    assert png_end(write(file, encoded(colours(), 'PNG'))).exif == b''


@pytest.mark.parametrize(
    ('tags', 'length'),
    [
        ({273: (8,), 279: (10,)}, 18),
        ({273: 8, 279: 10}, 18),
        ({273: (8, 30), 279: (10, 5)}, 35),
        ({273: (30, 8), 279: (5, 10)}, 35),
        ({324: (8,), 325: (10,)}, 18),  # tiles
        ({324: 20, 325: 7, 273: 8, 279: 1}, 27),
    ],
)
def test_strips_and_tiles_of_a_tiff_end_in_the_file(tmp_path, tags, length):
    assert not seems_cut('TIFF', tags, write(tmp_path / 'a', b'x' * length))
    assert seems_cut('TIFF', tags, write(tmp_path / 'a', b'x' * (length - 1)))


@pytest.mark.parametrize(('kind', 'position', 'more'), [('BMP', 2, 0), ('WEBP', 4, 8)])
def test_lengths_that_a_file_states(tmp_path, kind, position, more):
    head = b'\0' * position + (300).to_bytes(4, 'little')
    content = head + b'\0' * (300 + more - len(head))
    assert not seems_cut(kind, {}, write(tmp_path / 'a', content))
    assert not seems_cut(kind, {}, write(tmp_path / 'a', content + b'x'))
    assert seems_cut(kind, {}, write(tmp_path / 'a', content[:-1]))


@pytest.mark.parametrize(('kind', 'mark'), [('GIF', b';'), ('JPEG2000', b'\xff\xd9')])
def test_marks_of_the_end(tmp_path, kind, mark):
    for behind, cut in ((0, False), (64 - len(mark), False), (65 - len(mark), True)):
        content = b'x' * 99 + mark + b'\0' * behind
        assert seems_cut(kind, {}, write(tmp_path / 'a', content)) is cut
    assert not seems_cut(kind, {}, write(tmp_path / 'a', mark))
    assert seems_cut(kind, {}, write(tmp_path / 'a', b'')) and seems_cut(kind, {}, tmp_path / 'a')


def chunk(kind: bytes, content: bytes = b'') -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, 'big')
    return len(content).to_bytes(4, 'big') + kind + content + checksum


def test_any_chunks_of_a_png_are_passed(tmp_path):
    start, end = b'\x89PNG\r\n\x1a\n', chunk(b'IEND')
    for parts in ([b'IHDR', b'IDAT'], [b'IDAT'] * 5, []):
        chunks = b''.join(chunk(kind, kind * i) for i, kind in enumerate(parts, 1))
        content = start + chunks + end
        assert png_end(write(tmp_path / 'a', content)) == (b'', True, '')
        assert png_end(write(tmp_path / 'a', content + b'more' * 9)) == (b'', True, '')
        for missing in range(1, 13):
            assert png_end(write(tmp_path / 'a', content[:-missing])) == (b'', False, '')
    content = start + chunk(b'eXIf', b'turn') + chunk(b'IDAT', b'IEND' * 4) + end
    assert png_end(write(tmp_path / 'a', content)) == (b'turn', True, '')
    assert png_end(write(tmp_path / 'a', content[:40])) == (b'turn', False, '')


@pytest.mark.parametrize('kind', [b'zTXt', b'iTXt', b'iCCP'])
def test_too_many_chunks_that_readers_unpack(kind, tmp_path):
    most, start = complete.MOST[kind], b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR')
    file = write(tmp_path / 'a', start + chunk(kind, b'x') * most + chunk(b'IDAT') * 2000)
    assert crowded(file) == ''
    file = write(file, start + chunk(kind, b'x') * (most + 1))
    assert crowded(file).startswith(f'it has more than {most} {kind.decode()} chunks')
    assert crowded(write(file, start + chunk(kind)[:-1] + kind * 2000)) == ''
    assert crowded(write(file, b'x' + start + chunk(kind) * (most + 1))) == ''  # no PNG
    assert crowded(write(file, b'')) == ''


def test_checksums_of_the_chunks_that_a_decoder_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(complete, 'PIECE', 4)  # content of several pieces
    parts = [chunk(b'IHDR', b'x' * 13), chunk(b'PLTE', b'y' * 9), chunk(b'IDAT', b'z' * 50)]
    for kind, i in (('IHDR', 0), ('PLTE', 1), ('IDAT', 2)):
        for place in (-1, 8, 11, -5):  # of the checksum, and of the content
            broken = bytearray(parts[i])
            broken[place] ^= 1
            content = b''.join([complete.PNG, *parts[:i], broken, *parts[i + 1 :], chunk(b'IEND')])
            assert png_end(write(tmp_path / 'a', content)) == (b'', False, kind)


@pytest.mark.parametrize('kind', [b'tEXt', b'eXIf', b'IEND'])
def test_checksums_that_cv2_passes_over(tmp_path, kind):
    content = bytearray(encoded(colours(), 'PNG'))
    end = len(content) - 12
    content[end:end] = chunk(kind, b'a')[:-1] + b'?' if kind != b'IEND' else b''
    content[-1] ^= kind == b'IEND'
    assert png_end(write(tmp_path / 'a', content))[1:] == (True, '')
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None
