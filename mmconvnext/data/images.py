# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the headers of image files say: size, orientation, channels, bits, or why they fail."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from .cache import facts_of

VERSION = 1  # of the cache; raise it when Header changes
ORIENTATION = 0x0112  # of EXIF
TAIL = 64  # bytes at the end of a file that hold its end mark; our choice
BITS_OF_TIFF = 258
# By orientation, the point of the turned image for (x, y) of the stored one of size (w, h); EXIF
# 2.32, table of tag 274. cv2 turns images so, and mmcv with it.
TURNS: dict[int, Callable] = {
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}


class Header(NamedTuple):
    """Of an image file, as it is stored."""

    width: int
    height: int
    orientation: int = 1  # of EXIF, 1 to 8
    channels: int = 3
    bits: int = 8  # per channel
    mode: str = 'RGB'  # Pillow's
    error: str = ''

    @property
    def loaded(self) -> tuple[int, int]:
        """(width, height) of the image after it was turned by its orientation."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read_headers(files: Iterable[Path]) -> dict[Path, Header]:
    """The header of every file; they are kept, and read by several threads."""
    found = facts_of(files, _read, 'image_headers', VERSION, 'image headers read')
    return {file: Header(*facts) for file, facts in found.items()}


def _read(file: Path) -> list:
    return list(read_header(file))


def read_header(file: Path) -> Header:
    """Read a header; a file that seems cut off is decoded, to be sure."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large images and odd EXIF
            with Image.open(file) as image:
                header = _header(image)
                if _is_cut(file, image.format):
                    image.load()
                return header
    except Image.DecompressionBombError as error:
        return Header(0, 0, error=f'it is too large: {error}')
    except Exception as error:  # a broken file can raise anything
        return _by_cv2(file, f'{type(error).__name__}: {error}')


def _header(image: Image.Image) -> Header:
    orientation = image.getexif().get(ORIENTATION, 1)
    known = type(orientation) is int and 1 <= orientation <= 8
    return Header(
        *image.size,
        orientation=orientation if known else 1,
        channels=3 if image.mode == 'P' else len(image.getbands()),
        bits=_bits(image),
        mode=image.mode,
    )


def _bits(image: Image.Image) -> int:
    """Bits of a channel in the file; Pillow's mode hides those of 16-bit RGB."""
    if image.mode in ('I', 'F'):
        return 16 if image.format == 'PNG' else 32
    if image.mode.startswith('I;16') or any('16' in str(tile[3]) for tile in image.tile):
        return 16
    bits = getattr(image, 'tag_v2', {}).get(BITS_OF_TIFF, (8,))
    return max(8, *bits) if isinstance(bits, tuple) else 8


def _is_cut(file: Path, kind: str | None) -> bool:
    mark = dict(JPEG=b'\xff\xd9', PNG=b'IEND').get(kind or '')
    if not mark:
        return False
    with open(file, 'rb') as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL))
        return mark not in stream.read()


def _by_cv2(file: Path, error: str) -> Header:
    """cv2 reads some files that Pillow does not, such as TIFF with many channels."""
    import cv2
    import numpy as np

    try:
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, cv2.error):
        image = None
    if image is None:
        return Header(0, 0, error=error)
    channels = 1 if image.ndim == 2 else image.shape[2]
    return Header(image.shape[1], image.shape[0], 1, channels, 8 * image.dtype.itemsize, 'cv2')
