# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Headers of many image files, kept in the cache, and the kinds of files among them."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .cache import facts_of
from .header import CHANNELS, ORIENTATION, Header, read_header

VERSION = 5  # of the cache; raise it when Header or what it holds changes
# By orientation, the point of the turned image for (x, y) of the stored one of size (w, h); EXIF
# 2.32, table of tag 274. cv2 turns images so, and mmcv with it.
TURNS: dict[int, Callable] = {
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}


class ImageKind(NamedTuple):
    """Files that are alike, how many there are, and the first of them."""

    format: str
    mode: str
    channels: int
    bits: int
    count: int
    first: str

    def __str__(self) -> str:
        files = f'{self.format or self.mode} file{"s" * (self.count > 1)}'
        channels = f'{self.channels} channel{"s" * (self.channels > 1)}'
        what = f'{self.count} {files} of {channels} with {self.bits} bits'
        return f'{what}, such as {self.first}'


def image_kinds(headers: dict[Path, Header]) -> list[ImageKind]:
    """The kinds of the files that can be loaded, the most frequent first."""
    first: dict[tuple, Path] = {}
    counts: Counter[tuple] = Counter()
    for file, header in headers.items():
        if not header.error:
            kind = (header.format, header.mode, header.channels, header.bits)
            first.setdefault(kind, file)
            counts[kind] += 1
    return [ImageKind(*kind, count, str(first[kind])) for kind, count in counts.most_common()]


def read_headers(files: Iterable[Path], turns: bool = True) -> dict[Path, Header]:
    """The header of every file, with the orientation by which mmcv turns it; they are kept.

    Args:
        turns: whether the images are loaded with a ``color_type`` that turns them, which are
            'color' and 'grayscale'.
    """
    with quietly():
        found = facts_of(files, _read, 'image_headers', VERSION, 'image headers read')
    headers = {file: Header(*facts) for file, facts in found.items()}
    return {
        file: header
        if header.orientation == 1 or _is_turned(header, turns)
        else header._replace(orientation=1)
        for file, header in headers.items()
    }


def _is_turned(header: Header, turns: bool) -> bool:
    if header.format == 'TIFF':
        # cv2 turns it with every color_type; tifffile, which more channels need, turns nothing.
        return header.channels <= CHANNELS
    return turns and _turns(header.format)


def _read(file: Path) -> list:
    return list(read_header(file))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without Pillow's warnings, and without its limit of 179 million pixels, which cv2 lacks.

    Both are settings of the whole process, so the threads that read cannot change them.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large images and odd EXIF
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@functools.cache
def _turns(kind: str) -> bool:
    """Whether cv2 turns images of a format by their orientation; that changes with its version."""
    import cv2

    exif, content = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = 6
    try:
        Image.new('RGB', (16, 8)).save(content, 'JPEG' if kind == 'MPO' else kind, exif=exif)
        image = cv2.imdecode(np.frombuffer(content.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    except Exception:  # Pillow cannot write it: an exotic format
        return False
    return image is not None and image.shape[0] == 16
