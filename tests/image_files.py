# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes image files of all kinds, for tests of how they are read."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 24, 16
ORIENTATION = 0x0112  # the tag of EXIF and TIFF


def colours() -> np.ndarray:
    """(H, W, 3) RGB, with different corners and sides, so that every turn shows."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    image[: HEIGHT // 2, : WIDTH // 2] = (200, 20, 20)
    image[: HEIGHT // 2, WIDTH // 2 :] = (20, 200, 20)
    image[HEIGHT // 2 :, : WIDTH // 2] = (20, 20, 200)
    return image


def noise() -> np.ndarray:
    """(H, W, 3), which no format compresses to a few bytes."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **settings) -> bytes:
    """The bytes of a file in one of Pillow's formats."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return content.getvalue()


def turned(kind: str, orientation: int) -> bytes:
    """A file with an EXIF orientation."""
    if kind == 'TIFF':
        return encoded(colours(), kind, tiffinfo={ORIENTATION: orientation})
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(colours(), kind, exif=exif)


def tiff(array: np.ndarray, orientation: int | None = None) -> bytes:
    """An uncompressed TIFF of an array (H, W, C): any type, any C."""
    height, width, channels = array.shape
    kind = {'u': 1, 'i': 2, 'f': 3}[array.dtype.kind]
    colours_ = 3 if channels >= 3 else 1
    # Tag, type (3 is 16 bits, 4 is 32 bits), values.
    rows = [
        (256, 3, [width]),
        (257, 3, [height]),
        (258, 3, [8 * array.dtype.itemsize] * channels),
        (259, 3, [1]),
        (262, 3, [2 if channels >= 3 else 1]),
        (273, 4, [8]),
        (ORIENTATION, 3, [orientation] * (orientation is not None)),
        (277, 3, [channels]),
        (278, 3, [height]),
        (279, 4, [array.nbytes]),
        (284, 3, [1]),
        (338, 3, [0] * (channels - colours_)),
        (339, 3, [kind] * channels),
    ]
    rows = [row for row in rows if row[2]]
    start = 8 + array.nbytes
    outside = start + 2 + 12 * len(rows) + 4
    entries, values = b'', b''
    for tag, size, numbers in rows:
        packed = struct.pack(f'<{len(numbers)}{"H" if size == 3 else "I"}', *numbers)
        if len(packed) > 4:
            where = struct.pack('<I', outside + len(values))
            values += packed + b'\0' * (len(packed) % 2)
        else:
            where = packed.ljust(4, b'\0')
        entries += struct.pack('<HHI', tag, size, len(numbers)) + where
    head = b'II*\0' + struct.pack('<I', start)
    return head + array.tobytes() + struct.pack('<H', len(rows)) + entries + b'\0' * 4 + values


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    checksum = struct.pack('>I', zlib.crc32(kind + content))
    return struct.pack('>I', len(content)) + kind + content + checksum


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to have this size."""
    return png_of(b'x', width, height, 0)


def png_of(pixels: bytes, width: int = WIDTH, height: int = HEIGHT, colour: int = 2) -> bytes:
    """A PNG with any bytes for compressed pixels, and sound checksums; colour type 2 is RGB."""
    head = png_chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, colour, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + png_chunk(b'IDAT', pixels) + png_chunk(b'IEND', b'')


def write(file: Path, content: bytes) -> Path:
    """Write a file, and its folder; return it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
