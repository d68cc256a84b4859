# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fast paths of the ConvNeXt block; the plain code in ``models/block.py`` is the specification.

A fast path computes the same from the same parameters: it is chosen per call, and no name, shape or
checkpoint depends on it. ``selection`` is the one place that decides.

    ops         the operators: schemas, shapes, and who computes them on which device
    library     the compiled CPU side: compared with this machine and this torch, then loaded
    csrc        their CPU side in C++, compiled by setup.py where there is a compiler
    cuda        their CUDA side, with the Triton kernels of `triton`; off unless asked for
    reference   what each operator means, in plain PyTorch, for tests
    mlp         the pointwise layers from operators and torch's products, where csrc has none
    compat      names of torch that differ between its versions
    block       the block's forward and backward, made of these operators
"""

from .ops import capability

__all__ = ['capability']
