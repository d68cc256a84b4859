# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads the header of one image file: size, orientation, channels, bits, or why it fails."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

from .complete import PNG, PngEnd, crowded, png_end, seems_cut

# Tags of TIFF and EXIF (TIFF 6.0, section 8; EXIF 2.32, table 4).
WIDTH, HEIGHT, BITS, ORIENTATION, SAMPLES = 256, 257, 258, 274, 277
# cv2 loads no more pixels, and no longer sides (its documentation of imread).
PIXELS = int(os.environ.get('OPENCV_IO_MAX_IMAGE_PIXELS') or 2**30)
SIDE = 2**20
CHANNELS = 4  # most of a TIFF that cv2 loads
# Formats that every cv2 reads; it is asked about the others.
COMMON = {'JPEG', 'MPO', 'PNG', 'BMP', 'TIFF'}
# How files begin that are often found in the place of images.
POINTER, PAGES, NUMPY = b'version https://git-lfs', (b'<!doctype html', b'<html'), b'\x93NUMPY'
BIG_TIFF = (b'II+\0', b'MM\0+')
TIFF = (b'II*\0', b'MM\0*', *BIG_TIFF)
CUT = 'it is cut off'


class Header(NamedTuple):
    """Of an image file, as it is stored.

    Attributes:
        width, height: in pixels, before the image is turned.
        orientation: of EXIF, 1 to 8; :func:`read_headers` gives that which mmcv applies.
        channels: 3 for a palette.
        bits: those of a channel, at least 8; over 16 for 32-bit integers and floats.
        mode: Pillow's, or numpy's type if Pillow cannot read the file.
        format: Pillow's name of the format.
        several: whether it holds several images, of which mmcv loads the first.
        error: why the file cannot be loaded; '' if it can.
    """

    width: int
    height: int
    orientation: int = 1
    channels: int = 3
    bits: int = 8
    mode: str = 'RGB'
    format: str = 'JPEG'
    several: bool = False
    error: str = ''

    @property
    def loaded(self) -> tuple[int, int]:
        """(width, height) of the image after it was turned by its orientation."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read_header(file: Path) -> Header:
    """Read the header of a file, whatever it is; one that seems cut off is decoded, to be sure."""
    try:
        if fault := crowded(file):
            return _failed(fault)
        with Image.open(file) as image:
            end = png_end(file) if image.format == 'PNG' else None
            header = _header(image, file, end.exif if end else image.info.get('exif'))
            if header.error:
                return header
            if end:
                return header if end.complete else _failed(_damage(end))
            if seems_cut(image.format or '', getattr(image, 'tag_v2', {}), file):
                image.load()
                _by_cv2(file)
            return header
    except Exception as error:  # a broken file can raise anything
        return _by_other_means(file, error)


def _damage(end: PngEnd) -> str:
    if not end.damaged:
        return CUT
    wrong = f'the checksum of its chunk {end.damaged} is wrong'
    return f'it is damaged: {wrong}; copy or download it again'


def _header(image: Image.Image, file: Path, exif: bytes | None) -> Header:
    tags, (width, height) = getattr(image, 'tag_v2', None), image.size
    channels = 3 if image.mode in ('P', 'PA') else len(image.getbands())
    if tags:  # Pillow turns the size of a TIFF, and may hide channels
        width, height = tags[WIDTH], tags[HEIGHT]
        channels = max(channels, tags.get(SAMPLES, 1))
    header = Header(
        width,
        height,
        orientation=_orientation(image, exif),
        channels=channels,
        bits=_bits(image),
        mode=image.mode,
        format=image.format or '',
        several=_has_several(image),
    )
    return header._replace(error=_fault(header, file))


def _orientation(image: Image.Image, exif: bytes | None) -> int:
    """Pillow would decode a whole PNG to look for it, and take that of XMP, which cv2 does not."""
    tags = getattr(image, 'tag_v2', None)
    if tags is None:
        tags = Image.Exif()
        tags.load(exif)
    return _orientation_of(tags)


def _orientation_of(tags: Mapping) -> int:
    found = tags.get(ORIENTATION, 1)
    return found if type(found) is int and 1 <= found <= 8 else 1


def _bits(image: Image.Image) -> int:
    """Bits of a channel in the file; Pillow's mode hides those of 16-bit RGB."""
    tags = getattr(image, 'tag_v2', None)
    if tags:
        return _bits_of(tags)
    if image.mode in ('I', 'F'):
        return 16 if image.format in ('PNG', 'PPM') and image.mode == 'I' else 32
    raw = [image.mode, *(str(tile[3]) for tile in image.tile)]
    return 16 if any(';16' in mode for mode in raw) else 8


def _bits_of(tags: Mapping) -> int:
    bits = tags.get(BITS, (8,))
    return max(8, *(bits if isinstance(bits, tuple) else (bits,)))


def _has_several(image: Image.Image) -> bool:
    if image.format == 'MPO':  # a photograph and its preview
        return False
    tags = getattr(image, 'tag_v2', None)
    return bool(tags.next if tags else getattr(image, 'is_animated', False))


def _fault(header: Header, file: Path) -> str:
    """Why cv2 cannot load what Pillow can."""
    pixels = header.width * header.height
    if min(header.width, header.height) < 1:
        return f'it has {header.width} x {header.height} pixels'
    if pixels > PIXELS or max(header.width, header.height) > SIDE:
        return (
            f'it has {header.width} x {header.height} pixels; cv2 loads {PIXELS} at most '
            '(OPENCV_IO_MAX_IMAGE_PIXELS), so cut it into tiles'
        )
    if header.format not in COMMON:
        import cv2

        if not cv2.haveImageReader(str(file)):
            return f'cv2, with which mmcv loads images, cannot read {header.format}: convert it'
    return ''


def _by_other_means(file: Path, error: Exception) -> Header:
    """The header of a file that Pillow cannot read, or what the file is instead of an image."""
    try:
        with open(file, 'rb') as stream:
            start = stream.read(32)
    except OSError as problem:
        return _failed(_reason(problem, file))
    if not start:
        return _failed('it is empty')
    if start.startswith(POINTER):
        return _failed('it is a pointer of Git LFS: run git lfs pull')
    if start.lstrip().lower().startswith(PAGES):
        return _failed('it is a web page')
    webp = start.startswith(b'RIFF') and seems_cut('WEBP', {}, file)
    if webp or isinstance(error, OSError) and 'truncated' in str(error):
        return _failed(CUT)
    end = png_end(file) if start.startswith(PNG) else None
    if end and (end.damaged or not end.complete):  # cv2 would first take memory for all its pixels
        return _failed(_damage(end))
    try:
        if start.startswith(NUMPY):
            return _array(file)
        return _tiff(file) if start.startswith(TIFF) else _by_cv2(file)
    except (struct.error, KeyError):  # of a TIFF whose directory is incomplete
        return _failed(CUT)
    except Exception as problem:
        own = isinstance(error, Image.UnidentifiedImageError) or isinstance(problem, ValueError)
        return _failed(str(problem) if own else f'{type(error).__name__}: {error}')


def _reason(error: OSError, file: Path) -> str:
    reason = (error.strerror or str(error)).lower()
    return f'it is a link to {os.readlink(file)}: {reason}' if os.path.islink(file) else reason


def _failed(error: str) -> Header:
    return Header(0, 0, format='', error=error)


def _array(file: Path) -> Header:
    array = np.load(file, mmap_mode='r', allow_pickle=False)
    if not array.size or array.ndim not in (2, 3):
        raise ValueError(f'it is an array of shape {array.shape}, not (H, W) or (H, W, C)')
    channels = 1 if array.ndim == 2 else array.shape[2]
    bits = 8 * array.dtype.itemsize
    return Header(*array.shape[1::-1], 1, channels, bits, array.dtype.name, 'NPY')


def _tiff(file: Path) -> Header:
    """From the first directory of a TIFF, such as one of many channels."""
    with open(file, 'rb') as stream:
        start = stream.read(8)
        start += stream.read(8) if start.startswith(BIG_TIFF) else b''
        tags = TiffImagePlugin.ImageFileDirectory_v2(start)
        stream.seek(tags.next)
        tags.load(stream)
    if seems_cut('TIFF', tags, file):
        raise ValueError(CUT)
    stored = dict(width=tags[WIDTH], height=tags[HEIGHT], orientation=_orientation_of(tags))
    channels = tags.get(SAMPLES, 1)
    if any(type(number) is not int for number in (tags[WIDTH], tags[HEIGHT], channels)):
        raise ValueError('its width, height or number of channels is no number')
    header = Header(**stored, channels=channels, bits=_bits_of(tags), mode='', format='TIFF')
    # cv2 would first take memory for pixels that are not there.
    if channels > CHANNELS or _fault(header, file):
        return header._replace(error=_fault(header, file))
    return _by_cv2(file)._replace(**stored, format='TIFF')  # cv2 gives the turned size


def _by_cv2(file: Path) -> Header:
    import cv2

    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError('it is no image that Pillow or cv2 can read')
    channels = 1 if image.ndim == 2 else image.shape[2]
    bits = 8 * image.dtype.itemsize
    return Header(*image.shape[1::-1], 1, channels, bits, image.dtype.name, '')
