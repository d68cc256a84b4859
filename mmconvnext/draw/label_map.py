# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label maps of semantic segmentation over their image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .picture import as_picture

OPACITY = 0.55  # our choice
IGNORED = 255  # mmseg's value for pixels without a class
BACKGROUND = 'background'  # the name, in any case, of a class that is not tinted


def draw_label_map(
    image: np.ndarray,
    labels: np.ndarray,
    colours: Sequence[Sequence[int]],
    *,
    opacity: float = OPACITY,
    outline: int = 0,
    classes: Sequence[str] = (),
) -> np.ndarray:
    """A picture of the image with each pixel tinted in the colour of its class.

    Args:
        image: see :func:`.picture.as_picture`.
        labels: (H, W) indices of classes; others, such as 255, are not tinted.
        colours: an RGB colour for each class.
        opacity: 0 shows the image alone, 1 the colours alone.
        outline: colour only the borders of areas, so many pixels of each side; 0: all.
        classes: their names; what is called background is not tinted, as nothing was found there.

    Raises:
        ValueError: the label map has another size than the image.
    """
    picture = as_picture(image)
    if labels.shape != picture.shape[:2]:
        raise ValueError(f'a label map of {labels.shape} for an image of {picture.shape[:2]}')
    known = (labels >= 0) & (labels < len(colours))
    plain = [i for i, name in enumerate(classes) if str(name).strip().lower() == BACKGROUND]
    if plain:
        known &= ~np.isin(labels, plain)
    if outline:
        values, around = labels.astype(np.float32), np.ones((2 * outline + 1,) * 2, np.uint8)
        known &= cv2.dilate(values, around) != cv2.erode(values, around)
        opacity = 1
    table = np.asarray(colours, np.float32)
    tint = table[labels[known].astype(np.intp)]
    picture[known] = (picture[known] * (1 - opacity) + tint * opacity).round().astype(np.uint8)
    return picture
