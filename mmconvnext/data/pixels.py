# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a loader gets from an image file: channels and largest value, of one decoded file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .header import CHANNELS
from .images import ImageKind


def loaded_channels(kind: ImageKind, color_type: str) -> int:
    """How many channels mmcv, or LoadImage for arrays, returns for files of a kind."""
    if not needs_own_loader(kind):
        if color_type != 'unchanged':
            return 1 if color_type.startswith('grayscale') else 3
        image = _pixels(kind)
        if image is not None:  # cv2 adds alpha to grey, and drops it in a TIFF
            return 1 if image.ndim == 2 else image.shape[2]
    return kind.channels


def largest_value(kind: ImageKind) -> float | None:
    """The largest value in the first file of a kind; None if it cannot be told."""
    image = _pixels(kind)
    return None if image is None or not image.size else image.max().item()


def is_darkened(kind: ImageKind) -> bool:
    """Whether cv2 changes the first file: it multiplies colours of an 8-bit TIFF by its alpha."""
    if (kind.format, kind.mode, kind.bits) != ('TIFF', 'RGBA', 8):
        return False
    image = _pixels(kind)
    return image is not None and image.ndim == 3 and bool((image[..., -1] < 255).any())


def needs_own_loader(kind: ImageKind) -> bool:
    """Whether mmcv's loader fails: cv2 loads no arrays, and no TIFF of many channels."""
    return kind.format == 'NPY' or (kind.format == 'TIFF' and kind.channels > CHANNELS)


def _pixels(kind: ImageKind) -> np.ndarray | None:
    import cv2

    file = Path(kind.first)
    try:
        if kind.format == 'NPY':
            return np.load(file, mmap_mode='r', allow_pickle=False)
        return cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, cv2.error):
        return None
