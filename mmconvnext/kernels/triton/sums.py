# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The second stage of every sum over pixels; it adds partial sums in a fixed order.

The first stages (`dwconv_weight.py`, `gelu.py`) write one partial sum per program instead of adding
to the result with atomics, so that the same input gives the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Our choice: 32 columns are 128 bytes of float32, a whole cache line; 32 parts are read at once.
BLOCK_PARTS = 32
BLOCK_COLUMNS = 32


def sum_parts(parts: Tensor, taps: int = 0) -> Tensor:
    """(groups, parts, columns) -> (groups, columns), all float32 and contiguous.

    Args:
        parts: the partial sums that a first stage wrote.
        taps: if not 0, the columns are (taps + 1, C), as in the weight gradient, and the sums are
            stored as (C, taps) followed by the C sums of the last row.
    """
    groups, count, columns = parts.shape
    out = torch.empty((groups, columns), dtype=torch.float32, device=parts.device)
    if out.numel():
        blocks = triton.cdiv(columns, BLOCK_COLUMNS)
        _sum_parts[(groups * blocks,)](
            parts,
            out,
            count,
            columns,
            columns // (taps + 1),
            TAPS=taps,
            BLOCK_PARTS=BLOCK_PARTS,
            BLOCK_COLUMNS=BLOCK_COLUMNS,
        )
    return out


@triton.jit(do_not_specialize=['count', 'columns', 'channels'])
def _sum_parts(
    parts,
    out,
    count,
    columns,
    channels,
    TAPS: tl.constexpr,
    BLOCK_PARTS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
):
    blocks = tl.cdiv(columns, BLOCK_COLUMNS)
    group = (tl.program_id(0) // blocks).to(tl.int64)
    column = tl.program_id(0) % blocks * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
    part = tl.arange(0, BLOCK_PARTS)
    total = tl.zeros([BLOCK_PARTS, BLOCK_COLUMNS], tl.float32)
    for start in range(0, count, BLOCK_PARTS):
        at = ((group * count + start) + part[:, None]) * columns + column[None, :]
        inside = (start + part < count)[:, None] & (column < columns)[None, :]
        total += tl.load(parts + at, mask=inside, other=0.0)
    to = column
    if TAPS > 0:
        tap, channel = column // channels, column % channels
        to = tl.where(tap < TAPS, channel * TAPS + tap, column)
    tl.store(out + group * columns + to, tl.sum(total, axis=0), mask=column < columns)
