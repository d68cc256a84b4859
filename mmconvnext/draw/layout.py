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
NARROW = 120  # width in pixels that a picture with a title has at least; our choice


def enlarge(image: np.ndarray, least: int) -> tuple[np.ndarray, int]:
    """The image with a short side of at least ``least`` pixels, and the scale: 1, 2, 3, ...

    Whole factors and nearest neighbours, so that the pixels of a small image stay visible. Draw
    afterwards: lines and texts keep their width. Label maps and masks may be enlarged so too.
    """
    scale = max(1, -(-least // min(image.shape[:2])))
    return image.repeat(scale, axis=0).repeat(scale, axis=1), scale


def with_title(picture: np.ndarray, title: str) -> np.ndarray:
    """The picture with a text above, in several lines if it is long; see :func:`with_titles`."""
    return with_titles([picture], [title])[0]


def with_titles(pictures: Sequence[np.ndarray], titles: Sequence[str]) -> list[np.ndarray]:
    """The pictures with a text above each, all as many pixels high, so that they stay in line.

    A narrow picture gets a white border on the right, of which there is NARROW altogether.
    """
    height = text_size('', TEXT)[1]
    pictures = [_pad(one, len(one), max(NARROW, one.shape[1])) for one in pictures]
    lines = [_lines(title, one.shape[1] - 4) for title, one in zip(titles, pictures)]
    most, found = max(map(len, lines), default=0), []
    for picture, texts in zip(pictures, lines):
        bar = np.full((most * height + 6, picture.shape[1], 3), 255, np.uint8)
        rows = [(2, 2 + i * height, text, WHITE) for i, text in enumerate(texts)]
        put_texts(bar, rows, TEXT)
        found.append(np.concatenate([bar, picture]))
    return found


def _lines(text: str, width: int) -> list[str]:
    """The text in lines of so many pixels, broken at blanks, and within longer words."""
    lines, rest = [], text
    while rest and text_size(rest, TEXT)[0] > width:
        end = len(rest)
        while end > 1 and text_size(rest[:end], TEXT)[0] > width:
            end -= 1
        blank = rest.rfind(' ', 1, end + 1)
        end = blank if blank > 0 else end
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*lines, rest] if rest or not lines else lines


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
