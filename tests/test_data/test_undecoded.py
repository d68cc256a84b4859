# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/undecoded.py: why cv2 does not decode an image."""

import zlib

import cv2
import numpy as np
import pytest
from image_files import encoded, noise, write

from mmconvnext.data.undecoded import why_undecoded, why_unloaded

PIXELS = encoded(noise(), 'PNG')[33:-12]  # IDAT, between IHDR and IEND


def png(pixels: bytes) -> bytes:
    """A PNG of these compressed pixels, with sound checksums."""
    whole = encoded(noise(), 'PNG')
    checksum = zlib.crc32(b'IDAT' + pixels).to_bytes(4, 'big')
    return whole[:33] + len(pixels).to_bytes(4, 'big') + b'IDAT' + pixels + checksum + whole[-12:]


@pytest.mark.parametrize(
    ('content', 'why'),
    [
        (png(PIXELS[8:-4][:-99]), 'truncated'),
        (png(bytes(50)), 'broken data stream'),
        (b'no image', 'it is no image that Pillow or cv2 can read'),
        (encoded(noise(), 'PNG'), 'cv2 cannot decode this PNG, which Pillow can: save it anew'),
    ],
)
def test_what_pillow_says(tmp_path, content, why):
    assert why in why_undecoded(content)
    assert why in why_unloaded(write(tmp_path / 'a.png', content))
    if 'Pillow can' not in why:
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is None


def test_a_file_that_is_gone(tmp_path):
    assert why_unloaded(tmp_path / 'gone.png') == ''
