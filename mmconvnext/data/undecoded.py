# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Why an image is not decoded: cv2 only says that it is not."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError


def why_undecoded(content: bytes) -> str:
    """What Pillow says of an encoded image that cv2 does not decode."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except UnidentifiedImageError:  # its text has the address of an object
        return 'it is no image that Pillow or cv2 can read'
    except Exception as error:  # a broken file can raise anything
        return str(error) or type(error).__name__
    return f'cv2 cannot decode this {image.format}, which Pillow can: save it anew'


def why_unloaded(file: str | Path) -> str:
    """The same for a file; '' if it cannot be read."""
    try:
        return why_undecoded(Path(file).read_bytes())
    except OSError:
        return ''
