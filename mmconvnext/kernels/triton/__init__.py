# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""GPU kernels of the ConvNeXt block in Triton, for contiguous (N, H, W, C) tensors.

Storage is float32, bfloat16 or float16, arithmetic float32. A kernel is compiled once for each type
and each count of channels or kind of such counts, never for an image size: what derives from N, H,
W or M is a plain integer that `do_not_specialize` names, and no block size follows from it. Nothing
is tuned at run time. Offsets within a row of pixels are 32-bit, all others 64-bit.

Only this package imports triton; importing it needs triton 3.3 or later, which has tuples.
"""

from .dwconv import dwconv_norm, dwconv_norm_backward
from .gelu import gelu_backward, gelu_squares

__all__ = ['dwconv_norm', 'dwconv_norm_backward', 'gelu_backward', 'gelu_squares']
