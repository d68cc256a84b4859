# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Files in the place of 1.png, which is listed with 96 x 64 pixels."""

import io

import coco_files
import numpy as np
from image_files import ORIENTATION, encoded, huge_png, png_chunk, png_of, tiff
from PIL import Image

from malformed import Case

SIZE = WIDTH, HEIGHT = coco_files.SIZE
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
PNG, JPEG = encoded(NOISE, 'PNG'), encoded(NOISE, 'JPEG')
DEEP = Image.fromarray((np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 10).astype(np.uint16))


def _objects() -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([{}], dtype=object), allow_pickle=True)
    return content.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return encoded(NOISE, 'JPEG', exif=exif)


def blank(mode: str, kind: str) -> bytes:
    return encoded(Image.new(mode, SIZE), kind)


READ = r'1 of 3 images cannot be read \(.*1\.png: '
NO_IMAGE = READ + 'it is no image that Pillow or cv2 can read'
SEVEN = r'train +3 of 3 +7 of 7 '
CASES = {
    'empty': Case(b'', READ + 'it is empty'),
    'text': Case(b'hello', NO_IMAGE),
    'web page': Case(b'<html>sign in', READ + 'it is a web page'),
    'LFS pointer': Case(b'version https://git-lfs', READ + 'it is a pointer of Git LFS: run git'),
    'JPEG cut off': Case(JPEG[: len(JPEG) // 2], READ + 'it is cut off'),
    'beginning of a JPEG': Case(JPEG[:20], NO_IMAGE),
    'PNG cut off': Case(PNG[: len(PNG) // 2], READ + 'it is cut off'),
    'beginning of a PNG': Case(PNG[:8], READ + 'it is cut off'),
    'PNG with a flipped bit': Case(
        PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:],
        READ + 'it is damaged: the checksum of its chunk',
    ),
    'TIFF cut off': Case(encoded(NOISE, 'TIFF')[:500], READ + 'it is cut off'),
    'WebP cut off': Case(encoded(NOISE, 'WEBP')[:200], READ + 'it is cut off'),
    'bomb': Case(
        huge_png(60_000, 60_000), READ + 'it has 60000 x 60000 pixels; cv2 loads 10737418'
    ),
    'many profiles': Case(
        PNG[:33] + png_chunk(b'iCCP', b'a\0\0') * 11 + PNG[33:],
        READ + 'it has more than 10 iCCP chunks',
    ),
    'bomb of one line': Case(huge_png(2**21, 1), READ + 'it has 2097152 x 1 pixels'),
    'no width': Case(huge_png(0, 5), NO_IMAGE),
    'another size': Case(png_of(b''), '1.png: 96 x 64 listed, 24 x 16 in the file'),
    '16 bits': Case(
        encoded(DEEP, 'PNG'), r'1 PNG file of 1 channel with 16 bits, .* own_data\.bits=16'
    ),
    'CMYK': Case(blank('CMYK', 'JPEG'), SEVEN, False),
    'alpha': Case(blank('RGBA', 'PNG'), SEVEN, False),
    'GIF': Case(blank('P', 'GIF'), SEVEN, False),
    'turned by EXIF': Case(
        _turned(), '1 images have an EXIF orientation, by which mmcv turns them'
    ),
    'floats': Case(
        tiff(np.zeros((HEIGHT, WIDTH, 3), np.float32)), '1 TIFF file of 3 channels with 32'
    ),
    'seven channels': Case(
        tiff(np.zeros((HEIGHT, WIDTH, 7), np.uint8)), r'set own_data\.channels=7'
    ),
    'seven channels of no pixels': Case(
        tiff(np.zeros((HEIGHT, 0, 7), np.uint8)) + bytes(64), READ + 'it has 0 x 64 pixels'
    ),
    'pickled array': Case(_objects(), READ + "Array can't be memory-mapped: Python objects"),
    'PDF': Case(b'%PDF-1.4', NO_IMAGE),
    'SVG': Case(b'<svg xmlns="x"/>', NO_IMAGE),
    'video': Case(b'\0\0\0 ftypisom', NO_IMAGE),
    'ICO': Case(blank('RGB', 'ICO'), READ + 'cv2, with which mmcv loads images, cannot read ICO'),
    'EPS': Case(
        b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', READ + 'cv2, .* cannot read EPS'
    ),
    'folder': Case(None, READ + 'is a directory'),
}
