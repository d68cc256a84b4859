# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Is an image file whole? Seen from its length and the marks in it, without decoding it."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

TAIL = 64  # bytes at the end of a file in which its end mark is; our choice
MARKS = dict(JPEG=b'\xff\xd9', MPO=b'\xff\xd9', JPEG2000=b'\xff\xd9', GIF=b';')
JPEGS, START = ('JPEG', 'MPO'), b'\xda'  # of pixels, a marker, JPEG standard (T.81), table B.1
# Where a file states its length in bytes: the position, and what has to be added.
LENGTHS = dict(BMP=(2, 0), WEBP=(4, 8))
# Tags with the positions and the lengths of the strips, and of the tiles (TIFF 6.0).
PARTS = ((273, 279), (324, 325))
PNG = b'\x89PNG\r\n\x1a\n'  # before the first chunk
# Chunks of text and of colour profiles that a PNG may have, of which the standard allows one
# profile. Readers unpack every one, up to 1 MiB each, which takes them up to 10 ms; our choice.
MOST = {b'zTXt': 1000, b'iTXt': 1000, b'iCCP': 10}
PIECE = 1 << 20  # bytes that are read at once; our choice


class PngEnd(NamedTuple):
    """What stands in the chunks of a PNG.

    Attributes:
        complete: whether its end was reached.
        damaged: the first chunk that a decoder needs and whose checksum is wrong; '' if none is.
    """

    exif: bytes = b''
    complete: bool = False
    damaged: str = ''


def crowded(file: Path) -> str:
    """Why a PNG would take very long to read: it has more than MOST of some chunks; '' if not."""
    counts, size = Counter(), file.stat().st_size
    with open(file, 'rb') as stream:
        if stream.read(len(PNG)) != PNG:
            return ''
        for kind, _ in _chunks(stream, size):
            if kind in MOST:
                counts[kind] += 1
                if counts[kind] > MOST[kind]:
                    return (
                        f'it has more than {MOST[kind]} {kind.decode()} chunks (texts or colour '
                        'profiles), which take very long to read; save it anew'
                    )
    return ''


def png_end(file: Path) -> PngEnd:
    """Go through the chunks of a PNG and compare their checksums, without decoding them."""
    exif, size = b'', file.stat().st_size
    with open(file, 'rb') as stream:
        stream.seek(len(PNG))
        for kind, length in _chunks(stream, size):
            if kind == b'eXIf':
                exif = stream.read(length)
            elif kind == b'IEND':
                return PngEnd(exif, complete=True)
            elif kind[:1].islower():  # decoders pass over such a chunk if it is damaged
                pass
            elif _checksum(stream, kind, length) != stream.read(4):
                return PngEnd(exif, damaged=kind.decode('ascii', 'replace'))
    return PngEnd(exif)


def _chunks(stream: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each whole chunk from here on, with the stream at its content."""
    position = stream.tell()
    while position + 8 <= size:
        stream.seek(position)
        length, kind = struct.unpack('>I4s', stream.read(8))
        position += length + 12  # its length, kind and checksum have 4 bytes each
        if position > size:
            return
        yield kind, length


def _checksum(stream: BinaryIO, kind: bytes, length: int) -> bytes:
    """That of a chunk whose content follows in a stream."""
    found = zlib.crc32(kind)
    while length:
        piece = stream.read(min(length, PIECE))
        found, length = zlib.crc32(piece, found), length - len(piece)
    return struct.pack('>I', found)


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
