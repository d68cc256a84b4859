# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""An image file: its header, and its content as a label map, or why it cannot be read."""

import io
import warnings
from pathlib import Path
from unittest.mock import patch

import image_files
import numpy as np
from PIL import Image

from mmconvnext.data.header import read_header
from mmconvnext.data.label_maps import read_label_map, read_pixels
from mmconvnext.data.undecoded import why_undecoded


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


KINDS = ('PNG', 'JPEG', 'TIFF', 'BMP', 'WEBP', 'GIF', 'PPM')
SEEDS = [image_files.encoded(image_files.colours(), kind) for kind in KINDS]
SEEDS += [image_files.turned('JPEG', 6), image_files.turned('PNG', 8)]
SEEDS += [image_files.tiff(np.zeros((4, 6, 7), np.uint16), 3), image_files.huge_png(10**6, 10**6)]
SEEDS += [_npy(np.arange(24).reshape(4, 6)), b'version https://git-lfs', b'<html>', b'']

# Pixels from which on Pillow warns; it refuses twice as many. Our choice: under atheris, and only
# there, each image of 38 million pixels left 110 MB behind, which after minutes fills the memory.
MOST = 2**14


def run(data: bytes, folder: Path) -> None:
    file = folder / 'a.png'
    file.write_bytes(data)
    with warnings.catch_warnings(), patch.object(Image, 'MAX_IMAGE_PIXELS', MOST):
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        _read(file, data)


def _read(file: Path, data: bytes) -> None:
    header = read_header(file)
    assert header.error or min(header[:2]) > 0
    label_map = read_label_map(file)
    if not label_map.error:
        try:
            read_pixels(data)
        except ValueError as error:
            assert str(error)
    why_undecoded(data)
