# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A segment's id is R + 256 G + 256**2 B."""

import numpy as np


def rgb2id(rgb):
    """(H, W, 3) -> (H, W)."""
    return np.asarray(rgb).astype(np.int32) @ (1, 256, 256**2)


def id2rgb(ids):
    """(H, W) -> (H, W, 3)."""
    return np.stack([ids // 256**i % 256 for i in range(3)], axis=-1).astype(np.uint8)
