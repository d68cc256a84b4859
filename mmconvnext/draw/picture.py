# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Any image as a picture that can be drawn on, and text in pictures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .colours import text_colour

# A picture is dark, as those of microscopes are, if hardly any value is above DARK. Our choices:
# the percentile that tells, its limit, and of how many values it is taken.
LIGHT, DARK, SAMPLED = 99.5, 128, 1_000_000


def as_picture(image: np.ndarray) -> np.ndarray:
    """A new (H, W, 3) uint8 picture of an image.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) in RGB, or with more channels, of which the first three
            are shown. Values of other types than uint8 are stretched from their least to their
            greatest, because the range of 12-bit or floating-point images is unknown.

    Raises:
        ValueError: the array is not an image.
    """
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f'an array of shape {image.shape} is not an image: (H, W) or (H, W, C) is, with at '
            'least one pixel'
        )
    image = image[..., None] if image.ndim == 2 else image
    # Of two channels, such as grey and alpha, the first is shown.
    image = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image).copy()
    values = np.nan_to_num(image.astype(np.float32))
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def brightness(picture: np.ndarray) -> float:
    """How many times as bright a dark picture must be drawn to be seen; 1 for others.

    Args:
        picture: (H, W, 3) uint8.
    """
    step = max(1, round((picture.size / SAMPLED) ** 0.5))
    light = float(np.percentile(picture[::step, ::step], LIGHT))
    return 255 / light if 0 < light < DARK else 1.0


def brightened(picture: np.ndarray, times: float) -> np.ndarray:
    """The picture with all values multiplied, 255 at most."""
    if times == 1:
        return picture
    return np.minimum(picture * np.float32(times), 255).astype(np.uint8)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: it has umlauts, Greek and Cyrillic."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf'), size)


def one_line(text: str) -> str:
    """Names may hold line breaks and the like, which Pillow cannot measure."""
    return ''.join(char if char.isprintable() else '?' for char in text)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width of a line of text, and the height that all lines of this size share, in pixels."""
    return round(font(size).getlength(one_line(text))), round(1.25 * size)


def put_texts(picture: np.ndarray, texts: list[tuple[int, int, str, tuple]], size: int) -> None:
    """Write each ``(x, y, text, colour)`` on a plate of that colour, in place; cut at borders."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    for x, y, text, colour in texts:
        width, height = text_size(text, size)
        pen.rectangle((x, y, x + width + 4, y + height), fill=tuple(colour))
        pen.text((x + 2, y), one_line(text), fill=text_colour(colour), font=font(size))
    picture[:] = np.asarray(canvas)
