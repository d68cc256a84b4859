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
    return image


def wrong_type(image: np.ndarray, bits: bool) -> str:
    """Why an array cannot be taken, with the line that mends it if its values tell.

    Args:
        bits: whether the recipe takes more than 8 bits (own_data.bits).
    """
    if bits:
        return f'an array of {image.dtype}, but this recipe takes whole numbers and floats'
    text = (
        f'an array of {image.dtype}, but this recipe takes 8 bits: values from 0 to 255 as uint8 '
        '(own_data.bits is for more)'
    )
    if image.dtype.kind == 'b':
        return f"{text}; give image.astype('uint8') * 255"
    if image.dtype.kind not in 'iuf':
        return text
    low, high = image.min(), image.max()
    if 0 <= low and high <= 1 and image.dtype.kind == 'f':
        way = "give (image * 255).round().astype('uint8')"
    elif 0 <= low and high <= 255:
        way = f"give image{'.round()' * (image.dtype.kind == 'f')}.astype('uint8')"
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
