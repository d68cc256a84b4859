# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Label maps: what each file holds, read once and kept, and its pixels as numbers."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .cache import cache_root, facts_of, locked
from .complete import crowded
from .header import read_header

NAME = 'label_maps'  # of the folder in the cache
VERSION = 3  # of the cache; raise it when LabelMap changes
MOST = 256  # colours of a map that are kept, the most frequent ones, and one to say "more"; ours
FEW = 1 << 16  # ids that are counted rather than sorted; our choice
NUMPY = b'\x93NUMPY'  # how a .npy file begins: numpy.lib.format
GREY_WITH_ALPHA = ('LA', 'La', 'PA')  # of Pillow
COLOURED = ('RGB', 'RGBA', 'RGBa', 'RGBX')


class LabelMap(NamedTuple):
    """What a file holds, or why it cannot be read.

    Attributes:
        ids: the values of the only channel, or of R = G = B; () for colours. Sorted.
        colours: (R, G, B) of a map with colours; of a palette image, the colour of each of ``ids``.
        mode: of Pillow, or 'npy'.
        kind: of the file: 'PNG', 'JPEG', 'TIFF', ..., 'NPY'.
        width, height: in pixels, as stored; label maps are never turned by EXIF.
    """

    ids: tuple[int, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    mode: str = 'L'
    kind: str = 'PNG'
    width: int = 0
    height: int = 0
    error: str = ''

    @property
    def is_coloured(self) -> bool:
        """Whether its colours differ from grey, so that they may stand for classes."""
        return bool(self.colours) and not self.ids

    @property
    def in_colour(self) -> tuple[tuple[int, int, int], ...]:
        """Its colours; those of grey are (value, value, value)."""
        scale = 255 if self.mode == '1' else 1
        return self.colours or tuple((scale * i,) * 3 for i in self.ids)

    @property
    def is_reducible(self) -> bool:
        """Whether it holds ids in a form that mmseg cannot read: R = G = B, alpha, .npy."""
        several = self.mode in (*COLOURED, *GREY_WITH_ALPHA)
        return bool(self.ids) and (several or self.kind == 'NPY')


def read_label_maps(files: Iterable[Path]) -> dict[Path, LabelMap]:
    """The content of every file, in the given order; what is known is not read again.

    The processes of a distributed run wait for the first, then find its results in the cache.
    """
    with locked(cache_root() / NAME / 'reading'):
        facts = facts_of(files, _facts, NAME, VERSION, 'label maps read')
    return {file: _remembered(file, content) for file, content in facts.items()}


def _facts(file: Path) -> list:
    return list(read_label_map(file))


def _remembered(file: Path, facts: list) -> LabelMap:
    try:
        ids, colours, *rest = facts
        found = LabelMap(
            tuple(map(int, ids)), tuple((int(r), int(g), int(b)) for r, g, b in colours), *rest
        )
        if list(map(type, rest)) == [str, str, int, int, str]:
            return found
    except (TypeError, ValueError):
        pass
    return read_label_map(file)  # a damaged cache


def read_label_map(file: Path) -> LabelMap:
    """Decode one file, as mmseg does: palette images hold ids, 1-bit images 0 and 1."""
    try:
        with file.open('rb') as stream:
            if stream.read(len(NUMPY)) == NUMPY:
                return _of_array(_load(file.read_bytes()))
        if fault := crowded(file):
            return LabelMap(error=fault)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of large images
            with Image.open(file) as image:
                return _of_image(image)
    except Exception as error:  # a broken file can raise anything
        known = isinstance(error, Image.UnidentifiedImageError) and read_header(file).error
        return LabelMap(error=known or f'{type(error).__name__}: {error}')


def _of_image(image: Image.Image) -> LabelMap:
    _refuse_deep_channels(image)
    common = dict(mode=image.mode, kind=image.format or '', width=image.width, height=image.height)
    if image.mode in COLOURED:
        colours = _frequent(image.convert('RGB'))
        if any(len({*colour}) > 1 for colour in colours):
            return LabelMap(colours=colours, **common)
        ids = tuple(sorted(red for red, _, _ in colours))
        _refuse_alpha(image, ids)
        return LabelMap(ids, **common)
    if image.mode in GREY_WITH_ALPHA:
        ids = _histogram(image.getchannel(0))
        _refuse_alpha(image, ids)
        return LabelMap(ids, **common)
    if image.mode in ('L', 'P'):  # many times quicker than np.unique
        ids = _histogram(image)
        colours = _palette(image, ids) if image.mode == 'P' else ()
        return LabelMap(ids, colours, **common)
    if len(image.getbands()) > 1:
        raise ValueError(f'its colours are {image.mode}, not RGB')
    return LabelMap(_values(np.asarray(image)), **common)


def _of_array(array: np.ndarray) -> LabelMap:
    height, width = array.shape[:2]
    common = dict(mode='npy', kind='NPY', width=width, height=height)
    if array.ndim == 2:
        return LabelMap(_values(array), **common)
    content = _of_image(Image.fromarray(array))
    return content._replace(kind='NPY')


def _frequent(image: Image.Image) -> tuple[tuple[int, int, int], ...]:
    # Pillow's table for few colours is quicker.
    counts = image.getcolors(MOST) or image.getcolors(image.width * image.height)
    ranked = sorted(counts, key=lambda entry: (-entry[0], entry[1]))
    return tuple(colour for _, colour in ranked[: MOST + 1])


def _histogram(image: Image.Image) -> tuple[int, ...]:
    return tuple(i for i, count in enumerate(image.histogram()) if count)


def _palette(image: Image.Image, ids: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    table = _table(image)
    return tuple((int(r), int(g), int(b)) for r, g, b in table[list(ids)])


def _table(image: Image.Image) -> np.ndarray:
    """The (256, 3) colours of a palette image; black beyond the end of its palette."""
    table = np.zeros((256, 3), np.uint8)
    given = np.array(image.getpalette('RGB') or [], np.uint8).reshape(-1, 3)[:256]
    table[: len(given)] = given
    return table


def _values(array: np.ndarray) -> tuple[int, ...]:
    whole = _whole(array)
    if whole.dtype.kind in 'iu' and whole.size and 0 <= whole.min() and whole.max() < FEW:
        return tuple(
            np.flatnonzero(np.bincount(whole.ravel().astype(np.int64))).tolist()
        )  # quicker than sorting
    return tuple(int(value) for value in np.unique(whole))


def _whole(array: np.ndarray) -> np.ndarray:
    """Pixels as whole numbers, which floats may be too."""
    if array.dtype.kind in 'biu':
        return array
    if array.dtype.kind != 'f':
        raise ValueError(f'its pixels are {array.dtype}, not whole numbers')
    wrong = array[array != np.trunc(array)]  # NaN is one of them
    if wrong.size:
        raise ValueError(f'it holds {wrong.flat[0]:g}, not whole numbers')
    return array.astype(np.int64)


def _refuse_deep_channels(image: Image.Image) -> None:
    """Pillow keeps the upper half of 16-bit channels, which of ids is 0."""
    deep = any('16' in str(tile[3]) for tile in getattr(image, 'tile', ()))
    if deep and image.mode in (*COLOURED, *GREY_WITH_ALPHA):
        raise ValueError('its channels have 16 bits; write one channel')


def _refuse_alpha(image: Image.Image, ids: tuple[int, ...]) -> None:
    """Which channel holds the ids, if the grey one is the same everywhere?"""
    alpha = image.getchannel('A').getextrema() if 'A' in image.getbands() else (255, 255)
    if len(ids) == 1 and alpha[0] != alpha[1]:
        raise ValueError(f'its colour is {ids[0]} everywhere, only its alpha channel differs')


def _load(data: bytes) -> np.ndarray:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array.squeeze(axis=2 if array.shape[2] == 1 else 0)
    coloured = array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8
    if not array.size or array.ndim != 2 and not coloured:
        raise ValueError(f'it holds {array.dtype} of shape {array.shape}, not (height, width)')
    return array


def read_pixels(data: bytes, in_colour: bool = False) -> np.ndarray:
    """The pixels of an encoded label map as whole numbers, (height, width).

    Args:
        in_colour: give the colour of each pixel, :func:`packed`, instead of its id.

    Raises:
        ValueError: the file has several channels with different values, or no whole numbers.
    """
    if data[: len(NUMPY)] == NUMPY:
        array = _load(data)
    else:
        with Image.open(io.BytesIO(data)) as image:
            _refuse_deep_channels(image)
            array = np.asarray(image)
            if in_colour and image.mode in ('P', '1'):
                array = _table(image)[array] if image.mode == 'P' else array * np.uint8(255)
    return flat(array, in_colour)


def flat(array: np.ndarray, in_colour: bool = False) -> np.ndarray:
    """Pixels of one channel, or of several, the first three RGB, as numbers (height, width)."""
    channels = array if array.ndim == 3 else array[..., None]
    first = channels[..., : 3 if channels.shape[2] > 2 else 1]
    if in_colour:
        return packed(np.broadcast_to(_whole(first), (*first.shape[:2], 3)))
    differs = (first != first[..., :1]).any(axis=2)
    if differs.any():
        colour = tuple(int(value) for value in first[differs][0])
        raise ValueError(f'it holds colours such as {colour}, not ids')
    return _whole(first[..., 0])


def packed(colours: np.ndarray) -> np.ndarray:
    """(..., 3) RGB colours as one number each, 0xRRGGBB."""
    red, green, blue = np.moveaxis(np.asarray(colours).astype(np.int64), -1, 0)
    return (red << 16) + (green << 8) + blue


def unpacked(number: int) -> tuple[int, int, int]:
    """The RGB colour that :func:`packed` gave as a number."""
    return (number >> 16, number >> 8 & 255, number & 255)
