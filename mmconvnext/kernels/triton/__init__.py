# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""GPU kernels of the ConvNeXt block in Triton, for contiguous (N, H, W, C) tensors.

Storage is float32, bfloat16 or float16, arithmetic float32. A kernel is compiled once per type and
number of channels (or class of such numbers), never per image size: everything derived from N, H, W
or M is a plain integer listed in `do_not_specialize`, and no block size depends on it. Nothing is
tuned at run time. Offsets within a row of pixels are 32-bit, all others 64-bit.

Only this package imports triton. It needs triton 3.3 or later, which supports tuples.
"""

from .dwconv import dwconv_norm, dwconv_norm_backward
from .gelu import gelu_backward, gelu_squares

__all__ = ['dwconv_norm', 'dwconv_norm_backward', 'gelu_backward', 'gelu_squares']
