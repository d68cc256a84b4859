# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mmseg's PhotoMetricDistortion for values of any depth and any number of channels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ..registry import TRANSFORMS

WHITE = 255


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """Change brightness, contrast, saturation and hue at random, each with probability 0.5.

    The arguments, the order and the probabilities are mmseg's (those of SSD, arXiv 1512.02325).
    mmseg's transform needs three channels, and reads the saturation of float32 images wrongly.
    Here brightness and contrast change all channels, saturation and hue the first three, and an
    image (H, W, C) or (H, W) with values from 0 to 255 keeps its type.

    Args:
        brightness_delta: most that is added or subtracted.
        contrast_range, saturation_range: least and largest factor.
        hue_delta: most by which the hue turns, in steps of 2 degrees, as in mmseg.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = contrast_range
        self.saturation_range = saturation_range
        self.hue_delta = hue_delta

    def transform(self, results: dict) -> dict:
        """Change ``img``."""
        given = results['img']
        image = given.astype(np.float32)
        draw, delta = np.random.uniform, self.brightness_delta
        if _chance():
            image = _clipped(image + draw(-delta, delta))
        early = _chance()
        if early and _chance():
            image = _clipped(image * draw(*self.contrast_range))
        if image.ndim == 3 and image.shape[2] >= 3:
            factor = draw(*self.saturation_range) if _chance() else 1
            turn = 2 * draw(-self.hue_delta, self.hue_delta) if _chance() else 0
            if factor != 1 or turn:
                image[..., :3] = _recoloured(image[..., :3], factor, turn)
        if not early and _chance():
            image = _clipped(image * draw(*self.contrast_range))
        whole = given.dtype.kind in 'iu'
        results['img'] = (image.round() if whole else image).astype(given.dtype)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(brightness_delta={self.brightness_delta}, '
            f'contrast_range={self.contrast_range}, saturation_range={self.saturation_range}, '
            f'hue_delta={self.hue_delta})'
        )


def _chance() -> bool:
    return bool(np.random.randint(2))


def _clipped(image: np.ndarray) -> np.ndarray:
    return image.clip(0, WHITE)


def _recoloured(image: np.ndarray, factor: float, turn: float) -> np.ndarray:
    """BGR from 0 to 255 with ``factor`` times the saturation and a hue turned by degrees."""
    hsv = cv2.cvtColor(np.ascontiguousarray(image / WHITE, np.float32), cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0] + turn) % 360
    hsv[..., 1] = (hsv[..., 1] * factor).clip(0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * WHITE
