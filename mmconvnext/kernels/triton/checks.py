# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Shape checks: with other shapes a kernel would read out of bounds."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def check(
    name: str, x: Tensor | None, shape: Sequence[int | None], contiguous: bool = True
) -> None:
    """Check that ``x`` is None or has this shape, in which None allows any size.

    Raises:
        ValueError: the shape differs, or ``x`` is not contiguous.
    """
    if x is None:
        return
    sizes = tuple(x.shape)
    if len(sizes) != len(shape) or any(b not in (None, a) for a, b in zip(sizes, shape)):
        wanted = ', '.join('any' if size is None else str(size) for size in shape)
        raise ValueError(f'{name} must have the shape ({wanted}), got {sizes}')
    if contiguous and not x.is_contiguous():
        raise ValueError(f'{name} must be contiguous, got the strides {x.stride()}')
