# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/header.py: what is read of a file is what cv2 loads, or it says why cv2 fails."""

import importlib.util
import struct

import cv2
import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, colours, encoded, huge_png, noise, tiff, turned, write
from PIL import Image

from mmconvnext.data import header as module
from mmconvnext.data.header import Header, read_header
from mmconvnext.data.label_maps import read_label_map

DEEP = colours()[..., 0].astype(np.uint16) * 16  # 12 bits


def header_of(tmp_path, content, name='a.jpg'):
    return read_header(write(tmp_path / name, content))


def by_cv2(array, suffix):
    return cv2.imencode(suffix, array)[1].tobytes()


@pytest.mark.parametrize(
    ('mode', 'kind', 'channels'),
    [
        ('RGB', 'JPEG', 3),
        ('L', 'JPEG', 1),
        ('CMYK', 'JPEG', 4),
        ('1', 'PNG', 1),
        ('L', 'PNG', 1),
        ('LA', 'PNG', 2),
        ('P', 'PNG', 3),
        ('RGB', 'PNG', 3),
        ('RGBA', 'PNG', 4),
        ('L', 'TIFF', 1),
        ('P', 'TIFF', 3),
        ('LA', 'TIFF', 2),
        ('RGBA', 'TIFF', 4),
        ('CMYK', 'TIFF', 4),
        ('P', 'GIF', 3),
        ('L', 'BMP', 1),
        ('RGB', 'WEBP', 3),
        ('RGB', 'PPM', 3),
    ],
)
def test_eight_bits(tmp_path, mode, kind, channels):
    image = Image.fromarray(noise()).convert(mode)
    expected = Header(WIDTH, HEIGHT, 1, channels, 8, mode, kind)
    assert header_of(tmp_path, encoded(image, kind)) == expected


@pytest.mark.parametrize(
    ('array', 'suffix', 'channels', 'bits'),
    [
        (DEEP, '.png', 1, 16),
        (np.dstack([DEEP] * 3), '.png', 3, 16),
        (np.dstack([DEEP] * 4), '.png', 4, 16),
        (DEEP, '.tif', 1, 16),
        (np.dstack([DEEP] * 3), '.tif', 3, 16),
        (np.dstack([DEEP] * 4), '.tif', 4, 16),
        (DEEP, '.pgm', 1, 16),
        (DEEP.astype(np.int32), '.tif', 1, 32),
        (DEEP.astype(np.float32), '.tif', 1, 32),
        (np.dstack([DEEP] * 3).astype(np.float32), '.tif', 3, 32),
        (DEEP.astype(np.float64), '.tif', 1, 64),
    ],
)
def test_more_bits(tmp_path, array, suffix, channels, bits):
    header = header_of(tmp_path, by_cv2(array, suffix), f'a{suffix}')
    assert (header.width, header.height, header.error) == (WIDTH, HEIGHT, '')
    assert (header.channels, header.bits) == (channels, bits)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('channels', [1, 3, 4, 5, 8, 13])
def test_bands_of_a_tiff(tmp_path, channels, dtype):
    header = header_of(tmp_path, tiff(np.zeros((HEIGHT, WIDTH, channels), dtype)))
    assert (header.width, header.height, header.error) == (WIDTH, HEIGHT, '')
    assert (header.channels, header.bits) == (channels, 8 * np.dtype(dtype).itemsize)


@pytest.mark.parametrize(
    ('shape', 'dtype', 'expected'),
    [
        ((HEIGHT, WIDTH), np.float32, Header(WIDTH, HEIGHT, 1, 1, 32, 'float32', 'NPY')),
        ((HEIGHT, WIDTH, 5), np.uint16, Header(WIDTH, HEIGHT, 1, 5, 16, 'uint16', 'NPY')),
        ((HEIGHT, WIDTH, 3), bool, Header(WIDTH, HEIGHT, 1, 3, 8, 'bool', 'NPY')),
    ],
)
def test_arrays(tmp_path, shape, dtype, expected):
    np.save(tmp_path / 'a.npy', np.zeros(shape, dtype))
    assert read_header(tmp_path / 'a.npy') == expected


def test_arrays_that_are_no_images(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros(4))
    np.save(tmp_path / 'b.npy', np.array([{}], dtype=object))
    assert (
        read_header(tmp_path / 'a.npy').error
        == 'it is an array of shape (4,), not (H, W) or (H, W, C)'
    )
    assert 'memory-mapped' in read_header(tmp_path / 'b.npy').error


# Orientation


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_sizes_are_those_before_the_turn(tmp_path, kind, orientation):
    header = header_of(tmp_path, turned(kind, orientation))
    assert (header.width, header.height, header.orientation) == (WIDTH, HEIGHT, orientation)
    swapped = orientation >= 5
    assert header.loaded == ((HEIGHT, WIDTH) if swapped else (WIDTH, HEIGHT))


@pytest.mark.parametrize('value', [0, 9, 99])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_unknown_orientations_are_none(tmp_path, kind, value):
    assert header_of(tmp_path, turned(kind, value)).orientation == 1


@pytest.mark.parametrize('kind', ['JPEG', 'WEBP'])
def test_an_orientation_of_xmp_turns_nothing(tmp_path, kind):
    """cv2 looks for that of EXIF only."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    content = encoded(colours(), kind, xmp=xmp)
    assert header_of(tmp_path, content).orientation == 1
    loaded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert loaded.shape[:2] == (HEIGHT, WIDTH)


def test_png_is_not_decoded_for_its_orientation(tmp_path, monkeypatch):
    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', lambda self: pytest.fail('decoded'))
    assert header_of(tmp_path, turned('PNG', 6)).orientation == 6
    assert header_of(tmp_path, turned('JPEG', 6)).orientation == 6


# Several images


@pytest.mark.parametrize('kind', ['GIF', 'PNG', 'TIFF', 'WEBP'])
def test_several_images_in_a_file_are_noticed(tmp_path, kind):
    images = [Image.fromarray(noise()), Image.fromarray(colours())]
    assert not header_of(tmp_path, encoded(images[0], kind)).several
    content = encoded(images[0], kind, save_all=True, append_images=images[1:])
    assert header_of(tmp_path, content).several


def test_a_photograph_with_a_preview_is_one_image(tmp_path):
    images = [Image.fromarray(noise()), Image.fromarray(colours())]
    content = encoded(images[0], 'MPO', save_all=True, append_images=images[1:])
    header = header_of(tmp_path, content)
    assert (header.format, header.several, header.error) == ('MPO', False, '')


# Broken files

KINDS = ['BMP', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'TIFF', 'WEBP']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('part', [0.5, 0.9])
def test_cut_files(tmp_path, kind, part):
    content = encoded(noise(), kind)
    whole = header_of(tmp_path, content)
    assert (whole.width, whole.error) == (WIDTH, '')
    cut = header_of(tmp_path, content[: int(part * len(content))])
    assert (cut.width, cut.height) == (0, 0)
    assert cut.error in ('it is cut off', 'it is no image that Pillow or cv2 can read')


@pytest.mark.parametrize('kind', [kind for kind in KINDS if kind != 'WEBP'])
def test_bytes_behind_the_end_do_no_harm(tmp_path, kind):
    assert not header_of(tmp_path, encoded(noise(), kind) + b'\0' * 300).error


@pytest.mark.parametrize('bytes_', [1, 4, 12])
def test_a_png_without_its_end_is_not_loaded_by_cv2(tmp_path, bytes_):
    assert header_of(tmp_path, encoded(noise(), 'PNG')[:-bytes_]).error == 'it is cut off'


@pytest.mark.parametrize('kept', [8, 20, 33, 36, 45])
def test_cv2_takes_no_memory_for_a_png_that_pillow_refuses(tmp_path, monkeypatch, kept):
    monkeypatch.setattr('PIL.Image.open', lambda *args: 1 / 0)
    monkeypatch.setattr('cv2.imdecode', lambda *args: pytest.fail('decoded'))
    assert header_of(tmp_path, huge_png(10**6, 1000)[:kept]).error == 'it is cut off'


def flipped(content: bytes, mark: bytes, place: int) -> bytes:
    """One bit of a chunk of a PNG is another; ``place`` counts from its kind."""
    changed = bytearray(content)
    changed[content.index(mark) + place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(('chunk', 'place'), [('IHDR', 4 + 13), ('IDAT', 40), ('IDAT', -1)])
def test_a_damaged_png(tmp_path, chunk, place):
    """A bit of the pixels or of a checksum; Pillow does not open it without its IHDR."""
    content = encoded(noise(), 'PNG')
    changed = flipped(content, chunk.encode(), place)
    if place == -1:  # the length: the chunk ends elsewhere
        changed = content[: len(content) // 2] + content[len(content) // 2 + 9 :]
    assert cv2.imdecode(np.frombuffer(changed, np.uint8), cv2.IMREAD_COLOR) is None
    error = header_of(tmp_path, changed, 'a.png').error
    assert error in (
        f'it is damaged: the checksum of its chunk {chunk} is wrong; copy or download it again',
        'it is cut off' * (place == -1),
    )


@pytest.mark.parametrize('compression', ['tiff_lzw', 'tiff_deflate'])
def test_a_cut_tiff_with_compression(tmp_path, compression):
    content = encoded(noise(), 'TIFF', compression=compression)
    assert not header_of(tmp_path, content).error
    assert header_of(tmp_path, content[:-100]).error


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of the broken EXIF
def test_a_cut_tiff_of_many_bands(tmp_path):
    content = tiff(np.zeros((HEIGHT, WIDTH, 8), np.uint8))
    assert not header_of(tmp_path, content).error
    assert header_of(tmp_path, content[:-150]).error
    assert header_of(tmp_path, content[: HEIGHT * WIDTH * 8]).error


@pytest.mark.parametrize(
    ('content', 'error'),
    [
        (b'', 'it is empty'),
        (b'not an image', 'it is no image that Pillow or cv2 can read'),
        (
            b'version https://git-lfs.github.com/spec/v1\noid',
            'it is a pointer of Git LFS: run git lfs pull',
        ),
        (b'\n<!DOCTYPE html><p>404', 'it is a web page'),
        (b'<html>', 'it is a web page'),
        (
            encoded(colours(), 'TGA'),
            'cv2, with which mmcv loads images, cannot read TGA: convert it',
        ),
        (encoded(colours(), 'PDF'), 'it is no image that Pillow or cv2 can read'),
    ],
)
def test_what_is_no_image(tmp_path, content, error):
    assert header_of(tmp_path, content).error == error


def test_missing_files_and_folders(tmp_path):
    (tmp_path / 'dead.jpg').symlink_to('nowhere.jpg')
    assert read_header(tmp_path / 'a.jpg').error == 'no such file or directory'
    dead = read_header(tmp_path / 'dead.jpg').error
    assert dead == 'it is a link to nowhere.jpg: no such file or directory'
    (tmp_path / 'self.jpg').symlink_to('self.jpg')
    assert 'to self.jpg: too many levels' in read_header(tmp_path / 'self.jpg').error
    assert read_header(tmp_path).error == 'is a directory'


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    file = write(tmp_path / 'a.jpg', encoded(colours(), 'JPEG'))

    def refuse(*args, **kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('PIL.Image.open', refuse)
    monkeypatch.setattr('builtins.open', refuse)
    assert read_header(file).error == 'permission denied'


def test_names_in_any_script_and_links(tmp_path):
    file = write(tmp_path / 'Gr\u00f6\u00dfe \u72ac.jpg', encoded(colours(), 'JPEG'))
    (tmp_path / 'link.jpg').symlink_to(file)
    assert read_header(file) == read_header(tmp_path / 'link.jpg') == Header(WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ('width', 'height', 'fits'),
    [(2**15, 2**15, True), (2**15 + 1, 2**15, False), (2**20, 1, True), (2**20 + 1, 1, False)],
)
def test_pixels_that_cv2_loads(tmp_path, monkeypatch, width, height, fits):
    monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', None)
    header = header_of(tmp_path, huge_png(width, height), 'a.png')
    assert (header.width, header.height) == (width, height)
    assert fits == (not header.error)
    assert fits or f'it has {width} x {height} pixels; cv2 loads 1073741824 at most' in header.error


def test_cv2_agrees_on_every_kind(tmp_path):
    """The header has an error exactly if cv2 loads nothing, neither as colours nor as it is."""
    contents = [encoded(noise(), kind) for kind in KINDS]
    contents += [content[: len(content) // 2] for content in contents]
    contents += [turned(kind, 6) for kind in ('JPEG', 'PNG', 'TIFF')]
    contents += [tiff(np.zeros((HEIGHT, WIDTH, c), np.uint8)) for c in (1, 3, 4)]
    for content in contents:
        loaded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        header = header_of(tmp_path, content)
        assert bool(header.error) == (loaded is None), (content[:12], header)
        assert header.error or loaded.shape[0] in (header.width, header.height)


# Bounds


@pytest.mark.parametrize('kind', ['BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_files_that_lack_their_end_are_cut_off(tmp_path, kind):
    content = encoded(noise(), kind)
    for size in (len(content) - 30, int(0.9 * len(content))):
        assert header_of(tmp_path, content[:size]).error == 'it is cut off'


@pytest.mark.parametrize('size', [9, 12, 40])
def test_a_tiff_of_which_little_is_left(tmp_path, size):
    content = tiff(np.zeros((HEIGHT, WIDTH, 8), np.uint8))
    assert header_of(tmp_path, content[:size]).error


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of the broken directory
def test_a_tiff_without_its_directory_is_cut_off(tmp_path):
    whole = tiff(np.zeros((HEIGHT, WIDTH, 8), np.uint8))
    assert header_of(tmp_path, whole[:7]).error == 'it is cut off'
    # The directory is there, the pixels before it are not: they begin behind the end.
    pixels = (273).to_bytes(2, 'little') + (4).to_bytes(2, 'little') + (1).to_bytes(4, 'little')
    far = whole.replace(pixels + (8).to_bytes(4, 'little'), pixels + (9999).to_bytes(4, 'little'))
    assert far != whole and header_of(tmp_path, far).error == 'it is cut off'


@pytest.mark.parametrize('orientation', range(10))
def test_orientations_of_a_tiff_of_many_bands(tmp_path, orientation):
    header = header_of(tmp_path, tiff(np.zeros((HEIGHT, WIDTH, 8), np.uint8), orientation))
    known = 1 <= orientation <= 8
    assert header.orientation == (orientation if known else 1)
    assert (header.width, header.height, header.channels) == (WIDTH, HEIGHT, 8)


def test_a_tiff_of_single_bits(tmp_path):
    """It does not state its bits."""
    image = Image.fromarray(noise()).convert('1')
    assert header_of(tmp_path, encoded(image, 'TIFF')) == Header(
        WIDTH, HEIGHT, 1, 1, 8, '1', 'TIFF'
    )


def test_floats_that_are_no_tiff(tmp_path):
    header = header_of(tmp_path, by_cv2(DEEP.astype(np.float32), '.pfm'), 'a.pfm')
    assert (header.width, header.height, header.bits, header.channels) == (WIDTH, HEIGHT, 32, 1)


@pytest.mark.parametrize(
    ('width', 'height', 'fits'),
    [(1, 2**20, True), (1, 2**20 + 1, False), (2**15, 2**15 + 1, False)],
)
def test_high_images_that_cv2_loads(tmp_path, monkeypatch, width, height, fits):
    monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', None)
    header = header_of(tmp_path, huge_png(width, height), 'a.png')
    assert fits == (not header.error) and (header.width, header.height) == (width, height)


def test_a_tiff_of_many_bands_may_be_too_large_for_cv2(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'PIXELS', WIDTH * HEIGHT)
    content = tiff(np.zeros((HEIGHT, WIDTH, 8), np.uint8))
    assert header_of(tmp_path, content).error == ''
    monkeypatch.setattr(module, 'PIXELS', WIDTH * HEIGHT - 1)
    header = header_of(tmp_path, content)
    assert header.error.startswith(f'it has {WIDTH} x {HEIGHT} pixels; cv2 loads')
    assert header_of(tmp_path, encoded(noise(), 'JPEG')).error == header.error


@pytest.mark.parametrize(('value', 'expected'), [('1000', 1000), ('', 2**30), (None, 2**30)])
def test_the_limit_is_that_of_opencvs_variable(monkeypatch, value, expected):
    monkeypatch.delenv('OPENCV_IO_MAX_IMAGE_PIXELS', raising=False)
    if value is not None:
        monkeypatch.setenv('OPENCV_IO_MAX_IMAGE_PIXELS', value)
    spec = importlib.util.spec_from_file_location('mmconvnext.data.again', module.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.PIXELS == expected


@pytest.mark.parametrize(
    ('tag', 'kind', 'count', 'value', 'error'),
    [
        (257, 4, 1, 2**32 - 16, f'it has {WIDTH} x 4294967280 pixels'),
        (257, 4, 1, 0, f'it has {WIDTH} x 0 pixels'),
        (256, 1, 4, WIDTH, 'its width, height or number of channels is no number'),
        (257, 1, 4, HEIGHT, 'its width, height or number of channels is no number'),
        (277, 1, 4, 2, 'its width, height or number of channels is no number'),
    ],
)
def test_a_tiff_of_a_false_size_is_not_decoded(tag, kind, count, value, error, tmp_path):
    """cv2 takes 16 GB for one of 181 bytes. Pillow does not open these."""
    content = bytearray(tiff(np.zeros((HEIGHT, WIDTH, 2), np.uint32)))
    place = content.rindex(struct.pack('<HHI', tag, 3, 1))
    content[place : place + 12] = struct.pack('<HHII', tag, kind, count, value)
    assert header_of(tmp_path, content).error.startswith(error)


def test_arrays_without_pixels_are_no_images(tmp_path):
    file = tmp_path / 'a.npy'
    np.save(file, np.zeros((0, 6)))
    file.write_bytes(file.read_bytes() + b'more')  # an empty file cannot be mapped
    assert read_header(file).error == 'it is an array of shape (0, 6), not (H, W) or (H, W, C)'
    assert 'it holds float64 of shape (0, 6), not (height, width)' in read_label_map(file).error


def test_arrays_of_four_dimensions_are_no_images(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros((2, 3, 4, 5)))
    assert read_header(tmp_path / 'a.npy').error.startswith('it is an array of shape (2, 3, 4, 5)')
    np.save(tmp_path / 'a.npy', np.zeros((WIDTH, HEIGHT, 1), np.int64))
    assert read_header(tmp_path / 'a.npy') == Header(HEIGHT, WIDTH, 1, 1, 64, 'int64', 'NPY')


def test_what_failed_has_no_size_and_no_format(tmp_path):
    header = header_of(tmp_path, b'')
    assert header == Header(0, 0, 1, 3, 8, 'RGB', '', False, 'it is empty')


def test_by_default_a_header_is_that_of_a_photograph():
    assert Header(4, 3) == Header(4, 3, 1, 3, 8, 'RGB', 'JPEG', False, '')


@pytest.mark.parametrize('text', [b'  \n <HTML lang="en">', b'<!DocType HTML>', b'\r\n<html'])
def test_web_pages_in_any_spelling(tmp_path, text):
    assert header_of(tmp_path, text).error == 'it is a web page'


def test_text_that_only_mentions_a_page_or_a_pointer_is_neither(tmp_path):
    for text in (b'see <html>', b'a version https://git-lfs'):
        assert header_of(tmp_path, text).error == 'it is no image that Pillow or cv2 can read'


def test_errors_of_the_system_without_words(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError('Odd Device')

    monkeypatch.setattr('PIL.Image.open', refuse)
    monkeypatch.setattr('builtins.open', refuse)
    assert read_header(tmp_path / 'a.jpg').error == 'odd device'


def test_what_pillow_says_of_an_image_that_neither_reads(tmp_path, monkeypatch):
    """Unless it only says that it does not know the format."""

    def broken(*args, **kwargs):
        raise SyntaxError('broken chunk')

    monkeypatch.setattr('PIL.Image.open', broken)
    file = write(tmp_path / 'a.jpg', b'x' * 99)
    assert read_header(file).error == 'it is no image that Pillow or cv2 can read'
    monkeypatch.setattr('cv2.imdecode', lambda *args: 1 / 0)
    assert read_header(file).error == 'SyntaxError: broken chunk'


def test_what_only_cv2_reads(tmp_path, monkeypatch):
    def unknown(*args, **kwargs):
        raise Image.UnidentifiedImageError('cannot identify')

    for array, expected in (
        (DEEP, Header(WIDTH, HEIGHT, 1, 1, 16, 'uint16', '')),
        (noise(), Header(WIDTH, HEIGHT, 1, 3, 8, 'uint8', '')),
    ):
        with monkeypatch.context() as patch:
            patch.setattr('PIL.Image.open', unknown)
            assert header_of(tmp_path, by_cv2(array, '.png')) == expected


def test_palettes_with_alpha_are_colours(tmp_path):
    image = Image.fromarray(noise()).convert('P').convert('PA')
    content = encoded(image, 'TIFF')
    assert header_of(tmp_path, content) == Header(WIDTH, HEIGHT, 1, 3, 8, 'PA', 'TIFF')


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of the broken directory
@pytest.mark.parametrize('tag', [256, 257])
def test_a_tiff_whose_directory_lacks_a_side_is_cut_off(tmp_path, tag):
    content = tiff(np.zeros((HEIGHT, WIDTH, 8), np.uint8))
    entry = tag.to_bytes(2, 'little') + (3).to_bytes(2, 'little') + (1).to_bytes(4, 'little')
    other = (40_000).to_bytes(2, 'little') + entry[2:]
    assert content.count(entry) == 1
    assert header_of(tmp_path, content.replace(entry, other)).error == 'it is cut off'
