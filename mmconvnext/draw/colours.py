# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Colours of classes: the data's own palette where it is complete, else distinct hues."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

Colour = tuple[int, int, int]

# Successive hues lie far apart, whatever their number; strong, but not garish: our choice.
_GOLDEN_ANGLE = 0.381966
_SATURATION, _VALUE = 0.75, 0.9


def distinct_colours(count: int) -> list[Colour]:
    """``count`` RGB colours that a reader can tell apart; the same ones each time."""
    hues = (index * _GOLDEN_ANGLE % 1 for index in range(count))
    return [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, _SATURATION, _VALUE))
        for hue in hues
    ]


def fill_up(palette: Sequence[Sequence[int]] | None, count: int) -> list[Colour]:
    """A colour for each of ``count`` classes: the palette's, or distinct ones if that is short."""
    if palette is None or len(palette) < count:
        return distinct_colours(count)
    return [tuple(int(part) for part in colour[:3]) for colour in palette[:count]]


def text_colour(background: Sequence[int]) -> Colour:
    """Black or white, whichever is easier to read on ``background`` (weights of ITU-R BT.601)."""
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
