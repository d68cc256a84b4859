# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks the images that the backbone receives."""

from __future__ import annotations

import torch
from torch import Tensor


def check_images(x: Tensor, in_channels: int, patch: int) -> None:
    """Check an input of ``in_channels`` channels and at least ``patch`` pixels per side.

    Raises:
        ValueError: the shape is not (N, in_channels, H, W), the images are smaller than one patch,
            or they are float16 on a CPU.
    """
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise ValueError(
            f'the backbone takes (N, {in_channels}, H, W), got {tuple(x.shape)}; set '
            'in_channels, and mean and std of the data preprocessor, to match your images'
        )
    if min(x.shape[2:]) < patch:
        raise ValueError(
            f'an image of {x.shape[2]}x{x.shape[3]} pixels is smaller than one '
            f'{patch}x{patch} patch of the stem'
        )
    if x.dtype == torch.float16 and x.device.type == 'cpu':
        raise ValueError(
            'float16 on a CPU is neither fast nor accurate; use bfloat16 or float32 there'
        )
