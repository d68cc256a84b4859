# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Is an image file whole? Seen from its length and the marks in it, without decoding it."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TAIL = 64  # bytes at the end of a file in which its end mark is; our choice
MARKS = dict(JPEG=b'\xff\xd9', MPO=b'\xff\xd9', JPEG2000=b'\xff\xd9', GIF=b';')
JPEGS, START = ('JPEG', 'MPO'), b'\xda'  # of pixels, a marker, JPEG standard (T.81), table B.1
# Where a file states its length in bytes: the position, and what has to be added.
LENGTHS = dict(BMP=(2, 0), WEBP=(4, 8))
# Tags with the positions and the lengths of the strips, and of the tiles (TIFF 6.0).
PARTS = ((273, 279), (324, 325))
SIGNATURE = 8  # bytes before the first chunk of a PNG


class PngEnd(NamedTuple):
    """What stands in the chunks of a PNG: its EXIF, and whether its end was reached."""

    exif: bytes = b''
    complete: bool = False


def png_end(file: Path) -> PngEnd:
    """Go through the chunks of a PNG, without reading their content."""
    exif, size = b'', file.stat().st_size
    with open(file, 'rb') as stream:
        position = SIGNATURE
        while position + 8 <= size:
            stream.seek(position)
            length, kind = struct.unpack('>I4s', stream.read(8))
            if kind == b'eXIf':
                exif = stream.read(length)
            position += length + 12  # its length, kind and checksum have 4 bytes each
            if kind == b'IEND':
                return PngEnd(exif, position <= size)
    return PngEnd(exif)


def seems_cut(kind: str, tags: Mapping, file: Path) -> bool:
    """Whether a file may lack its end, so that it is to be decoded, to be sure.

    Args:
        kind: Pillow's name of the format; True for formats that are not known here.
        tags: those of a TIFF.
    """
    size = file.stat().st_size
    if kind == 'TIFF':
        return any(
            start + length > size
            for starts, lengths in PARTS
            for start, length in zip(_tuple(tags.get(starts)), _tuple(tags.get(lengths)))
        )
    with open(file, 'rb') as stream:
        if kind in LENGTHS:
            position, more = LENGTHS[kind]
            stream.seek(position)
            return int.from_bytes(stream.read(4), 'little') + more > size
        if kind in MARKS:
            stream.seek(-min(TAIL, size), os.SEEK_END)
            if MARKS[kind] in stream.read():
                return False
            stream.seek(0)
            return kind not in JPEGS or not _ends(stream.read())
    return True


def _ends(jpeg: bytes) -> bool:
    """Whether the end mark follows the pixels: telephones append films, and thumbnails have one."""
    position = 2
    while jpeg[position : position + 1] == b'\xff' and jpeg[position + 1 : position + 2] != START:
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], 'big')
    return jpeg.find(MARKS['JPEG'], position) >= 0


def _tuple(value: object) -> tuple:
    return value if isinstance(value, tuple) else () if value is None else (value,)
