# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fast paths of the ConvNeXt block. The plain path in ``models/block.py`` is their specification.

A fast path gives the same results from the same parameters. It is chosen per call; no name, shape
or checkpoint depends on it. ``docs/kernels.md`` has the mathematics.

    block       forward and backward of the whole block, an autograd.Function made of operators
    parameters  the parameters and options of a block, as named tuples
    ops         the operators, one file each: schema, shapes for tracing, composition
    reference   what each operator computes, in plain PyTorch, for the tests
    csrc        the operators for a CPU in C++; setup.py compiles them if there is a compiler
    library     checks that the compiled library fits this machine and torch, then loads it
    cuda        the operators for CUDA, with the Triton kernels of `triton`; off by default
    selection   settings, and conditions that rule out the fast path whatever the block contains
    report      the log line that says which blocks run on which path, and why
    compat      functions of torch whose names differ between its versions

Shapes, in Python and in C++. Names of tensors may end with their dimensions, as in ``x_NHWC``.

    N  samples        C  channels of the block
    H  height         K  hidden channels, between the pointwise layers
    W  width          M  rows, pixels of all samples: N * H * W
                      R  rows of one sample: H * W
"""

from .ops import capability

__all__ = ['capability']
