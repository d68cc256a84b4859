# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The operators of the namespace ``mmconvnext``, a file for each pair of forward and backward.

None has a derivative of its own; :class:`mmconvnext.kernels.block.FusedBlock` combines them into
the block's. All maps are (N, H, W, C) and contiguous, float32 or bfloat16; all arithmetic is
float32. Under autocast the residual stream (``x``, ``residual`` and the block's ``grad``) stays
float32, and the maps of the branch are bfloat16, as on the plain path.
:mod:`mmconvnext.kernels.reference` defines what each operator computes.
"""

from __future__ import annotations

from functools import cache

import torch

from ..library import load
from . import dwconv_norm, fingerprint, fold, gelu, mlp, scale_linear
from .define import DEFINED, LIBRARY, OPS

__all__ = [
    'LIBRARY',
    'OF_MAPS',
    'OPS',
    'capability',
    'dwconv_norm',
    'fingerprint',
    'fold',
    'gelu',
    'has_products',
    'mlp',
    'scale_linear',
]
OF_MAPS = tuple(DEFINED)  # names of all operators that return tensors


@cache
def capability() -> tuple[str | None, str]:
    """The instruction set that the CPU kernels are compiled for, or None and why there are none."""
    return load()


@cache
def has_products() -> bool:
    """Whether the library multiplies with oneDNN's micro-kernels, which not every torch exports.

    Without them ``mlp`` and ``mlp_backward`` are composed of smaller operators. False where
    :func:`capability` is None.
    """
    loaded = capability()[0] is not None
    return loaded and torch._C._dispatch_has_kernel_for_dispatch_key('mmconvnext::mlp', 'CPU')
