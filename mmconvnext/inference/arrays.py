# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Images in memory as arrays, and what to do with arrays of other types than uint8."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps

KINDS = 'a path, an RGB array (H, W, 3) of uint8, a PIL image or a torch tensor (C, H, W) of uint8'


def as_array(image: object) -> np.ndarray:
    """An image in memory as an array (H, W) or (H, W, C) in RGB.

    A PIL image is turned by its EXIF orientation, as files are; palettes, CMYK and alpha become
    RGB.

    Raises:
        ValueError: it is none.
    """
    if isinstance(image, Image.Image):
        image = _of_picture(image)
    elif isinstance(image, torch.Tensor):
        image = _of_tensor(image)
    if not isinstance(image, np.ndarray):
        raise ValueError(f'an image is {KINDS}; got {type(image).__name__}')
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f'an array of shape {image.shape} is no image; an image is {KINDS}. For several give a '
            'list'
        )
    return np.asarray(image)  # np.matrix cannot have channels


def wrong_type(image: np.ndarray, given: object, bits: bool) -> str:
    """Why an image cannot be taken, with the line that mends it if its values tell.

    Args:
        given: the array, tensor or PIL image that became ``image``.
        bits: whether the recipe takes more than 8 bits (own_data.bits).
    """
    name, one, cast = f'an array of {image.dtype}', 'image', ".astype('uint8')"
    if isinstance(given, torch.Tensor):
        name, cast = f'a tensor of {given.dtype}', '.to(torch.uint8)'
    elif isinstance(given, Image.Image):
        name, one = f'a PIL image of mode {given.mode}', 'np.asarray(image)'
    if bits:
        return f'{name}, but this recipe takes whole numbers and floats'
    text = (
        f'{name}, but this recipe takes 8 bits: values from 0 to 255 as uint8 (own_data.bits is '
        'for more)'
    )
    if image.dtype.kind == 'b':
        return f'{text}; give {one}{cast} * 255'
    if image.dtype.kind not in 'iuf':
        return text
    low, high, floats = image.min(), image.max(), image.dtype.kind == 'f'
    if 0 <= low and high <= 1 and floats:
        way = f'give ({one} * 255).round(){cast}'
    elif 0 <= low and high <= 255:
        way = f'give {one}{".round()" * floats}{cast}'
    else:
        way = 'bring them to 0 to 255 as for the training'
    return f'{text}; its values are {low:g} to {high:g}: {way}'


def _of_picture(image: Image.Image) -> np.ndarray:
    try:
        image = ImageOps.exif_transpose(image)
        wide = image.mode.startswith(('I', 'F'))  # 16 and 32 bits
        return np.asarray(image if wide or image.mode in ('L', 'RGB') else image.convert('RGB'))
    except Exception as error:  # cut off, closed, or of a mode that cannot become RGB
        raise ValueError(f'a PIL image that cannot be read: {error}') from error


def _of_tensor(image: torch.Tensor) -> np.ndarray:
    try:
        dense = image.detach().to_dense().cpu()
        if dense.is_floating_point():
            dense = dense.float()  # numpy has no bfloat16
        return (dense.permute(1, 2, 0) if dense.ndim == 3 else dense).numpy()
    except Exception as error:  # quantized, nested or without values (meta)
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f'a torch tensor of {image.dtype} on {image.device} cannot become an array: {text}; an '
            f'image is {KINDS}'
        ) from error
