# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How the depthwise kernels divide images among programs."""

from __future__ import annotations

from typing import NamedTuple

import triton
from torch import Tensor

# Our choice: every ConvNeXt from T up has a multiple of 32 channels; they are 64 bytes of bfloat16.
BLOCK_C = 32
# Our choice: about 8 programs for each of the 132 multiprocessors of an H100. A constant, since the
# number of parts decides the order of a sum, and every device must give the same result.
PROGRAMS = 1024
# Our choice: neighbouring strips share six rows of input, so short strips repeat much work.
MIN_ROWS, MAX_ROWS = 8, 48


class Tiles(NamedTuple):
    """How a map is cut along each dimension; kernels take all but ``vec`` as plain integers."""

    blocks: int  # of BLOCK_C channels
    columns: int  # blocks of columns
    rows: int  # in a strip
    strips: int  # in an image
    vec: int  # neighbouring channels that a thread may load at once

    @property
    def places(self) -> int:
        """Programs that an image needs for a block of channels."""
        return self.columns * self.strips


def cut(x: Tensor, block_w: int) -> Tiles:
    """Cut (N, H, W, C) into strips ``block_w`` columns wide, as long as their number allows."""
    samples, height, width, channels = x.shape
    blocks, columns = triton.cdiv(channels, BLOCK_C), triton.cdiv(width, block_w)
    wanted = triton.cdiv(PROGRAMS, max(1, samples * blocks * columns))
    rows = min(MAX_ROWS, max(MIN_ROWS, triton.cdiv(height, wanted)))
    strips = triton.cdiv(height, rows)
    rows = triton.cdiv(height, max(1, strips))
    # A row starts at a multiple of C elements, so pairs of elements are aligned only if C is even.
    return Tiles(blocks, columns, rows, strips, 1 if channels % 2 else 2)
