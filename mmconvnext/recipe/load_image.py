# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Loads images whose values have more than 8 bits, or that have more than three channels."""

from __future__ import annotations

import io

import cv2
import numpy as np
from mmcv import imfrombytes
from mmcv.image.io import imread_flags
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.fileio import BaseStorageBackend, register_backend
from PIL import Image

from ..data.undecoded import why_undecoded
from ..registry import TRANSFORMS

MOST_BITS = 16  # of integers in PNG and TIFF
NUMPY, TIFF = b'\x93NUMPY', (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')  # how such files begin


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's LoadImageFromFile for values of any depth, and for any number of channels.

    For 8-bit files the result is the same. Files of 9 to 16 bits, which LoadImageFromFile divides
    by 256 whatever their values are, become float32 from 0 to 255, so that the mean and std of a
    recipe stay right: ``value * 255 / (2**bits - 1)``.

    With ``color_type='unchanged'`` all channels are loaded, also from an array (H, W, C) or (H, W)
    in a `.npy` file, and, with the package tifffile, from a TIFF of more than four channels. The
    first three come in reverse order, as cv2 loads RGB; ``bgr_to_rgb=True`` of the preprocessors
    ``mmconvnext.DetDataPreprocessor`` and ``mmconvnext.SegDataPreProcessor`` restores the order of
    the file. Floating-point values stay as they are.

    Args:
        bits: how many bits the values have, 8 to 16; 12 for a 12-bit camera, although its files
            have 16.
        channels: how many channels every image must have; None allows any number.
        args, kwargs: those of LoadImageFromFile.

    Raises:
        ValueError: ``bits`` or ``channels`` is out of range; an image has larger values than
            ``bits`` allow, or other channels.
    """

    def __init__(self, *args, bits: int = 8, channels: int | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if type(bits) is not int or not 8 <= bits <= MOST_BITS:
            raise ValueError(f'bits={bits!r} of LoadImage: choose 8 to {MOST_BITS}')
        if channels is not None and (type(channels) is not int or channels < 1):
            raise ValueError(f'channels={channels!r} of LoadImage: choose None, 1 or more')
        if bits > 8 and self.imdecode_backend in ('pillow', 'turbojpeg'):
            raise ValueError(
                f'imdecode_backend={self.imdecode_backend!r} loads 8 bits; bits={bits} needs '
                "'cv2' or 'tifffile'"
            )
        self.bits = bits
        self.channels = channels

    def transform(self, results: dict) -> dict | None:
        """Add ``img``, (H, W, C) or (H, W), and its size, ``img_shape`` and ``ori_shape``."""
        file = results['img_path']
        try:
            content = self._read(file)
            try:
                image = self._decode(content)
            except Exception as error:  # a broken file can raise anything, without its name
                raise ValueError(f'failed to load image: {file}: {error}') from error
        except Exception:
            if self.ignore_empty:
                return None
            raise
        if image is None:
            raise ValueError(f'failed to load image: {file}: {why_undecoded(content)}')
        image = self._scaled(image, file)
        channels = 1 if image.ndim == 2 else image.shape[2]
        if self.channels not in (None, channels):
            raise ValueError(
                f'{file} has {channels} channels when it is loaded, not {self.channels}: correct '
                'channels (own_data.channels), or the file'
            )
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _read(self, file: str) -> bytes:
        if self.file_client_args is not None:
            return fileio.FileClient.infer_client(self.file_client_args, file).get(file)
        return fileio.get(file, backend_args=self.backend_args)

    def _decode(self, content: bytes) -> np.ndarray | None:
        if content.startswith(NUMPY):
            return _as_cv2(np.load(io.BytesIO(content), allow_pickle=False))
        if self.imdecode_backend == 'tifffile':
            return _as_cv2(_of_tiff(content))
        if self.imdecode_backend != 'cv2':
            return imfrombytes(content, self.color_type, backend=self.imdecode_backend)
        flag = imread_flags[self.color_type] | cv2.IMREAD_ANYDEPTH
        image = imfrombytes(content, flag, backend='cv2')
        if self.color_type == 'unchanged' and content.startswith(TIFF):
            if image is None:
                return _as_cv2(_of_tiff(content))
            if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 4:
                return _with_alpha(content, image)
        return image

    def _scaled(self, image: np.ndarray, file: str) -> np.ndarray:
        if image.dtype == np.uint8 or image.dtype.kind not in 'iu' or not image.size:
            return image
        low, high, most = int(image.min()), int(image.max()), 2**self.bits - 1
        if low < 0 or high > most:
            raise ValueError(
                f'{file} has values from {low} to {high}, but bits={self.bits} allows 0 to {most}: '
                'set bits (own_data.bits) to the number of bits that the largest value of all '
                'images needs'
            )
        return image.astype(np.float32) * np.float32(255 / most)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, bits={self.bits}, channels={self.channels})'


def _of_tiff(content: bytes) -> np.ndarray:
    """All channels of a TIFF as (H, W, C), in the order of the file."""
    try:
        import tifffile
    except ImportError as error:
        raise ValueError(
            'cv2 loads at most 4 channels of a TIFF; for more, pip install tifffile, or save the '
            'images as arrays (H, W, C) in .npy files'
        ) from error
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page = tiff.pages[0]
        image = page.asarray()
        return np.moveaxis(image, 0, -1) if page.axes.startswith('S') else image


def _with_alpha(content: bytes, image: np.ndarray) -> np.ndarray:
    """The four channels of a TIFF; cv2 has multiplied the colours by the fourth if it is alpha."""
    with Image.open(io.BytesIO(content)) as stored:
        whole = np.asarray(stored) if stored.mode == 'RGBA' else np.empty(0)
    return _as_cv2(whole) if whole.shape == image.shape else image


def _as_cv2(image: np.ndarray) -> np.ndarray:
    """The first three channels in reverse order, as cv2 loads RGB; the others follow."""
    if image.ndim == 3 and image.shape[2] >= 3:
        image = np.concatenate([image[..., 2::-1], image[..., 3:]], axis=2)
    return image


@register_backend('mmconvnext.Picture')
class Picture(BaseStorageBackend):
    """A file backend that gives any image as an 8-bit PNG of three channels, to be drawn on.

    The hooks of mmdet and mmseg that draw predictions read images by themselves, through the
    backend in their ``backend_args``.

    Args:
        settings: those of LoadImage.
    """

    def __init__(self, **settings) -> None:
        self.load = LoadImage(**settings)

    def get(self, filepath: str) -> bytes:
        image = self.load(dict(img_path=str(filepath)))['img']
        if image.ndim == 3:
            image = image[..., : 3 if image.shape[2] >= 3 else 1]
        low, high = float(image.min()), float(image.max())
        if image.dtype != np.uint8 and (low < 0 or high > 255 or high <= 1):
            image = (image - low) * (255 / ((high - low) or 1))  # values of no known range
        return cv2.imencode('.png', image.round().astype(np.uint8))[1].tobytes()

    def get_text(self, filepath: str) -> str:
        raise NotImplementedError('a picture is no text')
