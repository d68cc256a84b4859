# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/undecoded.py: why cv2 does not decode an image."""

import zlib

import cv2
import numpy as np
import pytest
from image_files import HEIGHT, WIDTH, encoded, noise, png_of, write

from mmconvnext.data.undecoded import why_undecoded, why_unloaded

PIXELS = zlib.compress(b'\0' * HEIGHT * (1 + 3 * WIDTH))


@pytest.mark.parametrize(
    ('content', 'why'),
    [
        (png_of(zlib.compress(b'\0' * 500)), 'truncated'),
        (png_of(bytes(50)), 'broken data stream'),
        (png_of(PIXELS[:-1] + b'?'), 'broken data stream'),  # zlib's own checksum
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
