# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Arranges pictures: enlarged, with titles and legends, side by side, in sheets."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .picture import put_texts, text_size

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
GAP = 8  # pixels between pictures; our choice
TEXT = 16  # height of titles and legends in pixels; our choice


def enlarge(image: np.ndarray, least: int) -> tuple[np.ndarray, int]:
    """The image with a short side of at least ``least`` pixels, and the scale: 1, 2, 3, ...

    Whole factors and nearest neighbours, so that the pixels of a small image stay visible. Draw
    afterwards: lines and texts keep their width. Label maps and masks may be enlarged so too.
    """
    scale = max(1, -(-least // min(image.shape[:2])))
    return image.repeat(scale, axis=0).repeat(scale, axis=1), scale


def with_title(picture: np.ndarray, title: str) -> np.ndarray:
    """The picture with a line of text above; a title that is too long is cut."""
    _, height = text_size(title, TEXT)
    bar = np.full((height + 6, picture.shape[1], 3), 255, np.uint8)
    put_texts(bar, [(2, 2, title, WHITE)], TEXT)
    return np.concatenate([bar, picture])


def with_legend(
    picture: np.ndarray, classes: Sequence[str], colours: Sequence[Sequence[int]]
) -> np.ndarray:
    """The picture with the name of each class, on its colour, in lines below."""
    placed, x, y = [], GAP, 4
    for name, colour in zip(classes, colours):
        width, height = text_size(str(name), TEXT)
        if x > GAP and x + width + GAP > picture.shape[1]:
            x, y = GAP, y + height + 6
        placed.append((x, y, str(name), colour))
        x += width + 2 * GAP
    bar = np.full((y + text_size('', TEXT)[1] + 6, picture.shape[1], 3), 255, np.uint8)
    put_texts(bar, placed, TEXT)
    return np.concatenate([picture, bar])


def beside(*pictures: np.ndarray) -> np.ndarray:
    """The pictures side by side, their upper borders in line."""
    height = max(picture.shape[0] for picture in pictures)
    padded = [_pad(picture, height, picture.shape[1] + GAP) for picture in pictures]
    return np.concatenate(padded, axis=1)[:, :-GAP]


def sheet(pictures: Sequence[np.ndarray], columns: int, cell: int | None = None) -> np.ndarray:
    """A sheet with ``columns`` pictures in each row.

    Args:
        cell: shrink or enlarge each picture to a long side of so many pixels; None leaves them.

    Raises:
        ValueError: there is no picture.
    """
    if not pictures:
        raise ValueError('a sheet needs at least one picture')
    if cell:
        pictures = [fit(picture, cell) for picture in pictures]
    width = max(picture.shape[1] for picture in pictures) + GAP
    rows = []
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        height = max(picture.shape[0] for picture in row) + GAP
        cells = [_pad(picture, height, width) for picture in row]
        blank = np.full((height, width, 3), 255, np.uint8)
        cells += [blank] * (min(columns, len(pictures)) - len(cells))
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows)[:-GAP, :-GAP]


def fit(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture, resized to a long side of ``side`` pixels."""
    scale = side / max(picture.shape[:2])
    size = [max(1, round(scale * length)) for length in picture.shape[1::-1]]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(picture, size, interpolation=how)


def _pad(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = height - picture.shape[0], width - picture.shape[1]
    return np.pad(picture, ((0, rows), (0, columns), (0, 0)), constant_values=255)
