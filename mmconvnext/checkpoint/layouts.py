# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The layouts in which formats store a tensor, converted to ours and back.

O and I are output and input channels, C is channels; `kernel` counts the positions of a k x k
convolution with the column as the slower index, as MinkowskiEngine stores them.
"""

from __future__ import annotations

import math

from torch import Tensor


def _from_kernel(tensor: Tensor) -> Tensor:
    """(kernel, I, O) -> (O, I, k, k); (kernel, C) -> (C, 1, k, k)."""
    side = math.isqrt(tensor.shape[0])
    tensor = tensor.unsqueeze(1) if tensor.ndim == 2 else tensor
    # ConvNeXt-V2, utils.remap_checkpoint_keys: the positions run down the columns.
    return tensor.permute(2, 1, 0).unflatten(2, (side, side)).transpose(2, 3).contiguous()


def _to_kernel(tensor: Tensor) -> Tensor:
    """The reverse of :func:`_from_kernel`, with three axes."""
    return tensor.transpose(2, 3).flatten(2).permute(2, 1, 0).contiguous()


# Our layout -> theirs.
LAYOUTS = {
    '(1, C)': lambda t: t.reshape(1, -1),
    '(1, 1, 1, C)': lambda t: t.reshape(1, 1, 1, -1),
    '(C, 1, 1)': lambda t: t.reshape(-1, 1, 1),
    '(O, I, 1, 1)': lambda t: t[:, :, None, None],
    '(kernel, C)': lambda t: _to_kernel(t).squeeze(1),
    '(kernel, I, O)': _to_kernel,
}


def to_our_layout(name: str, their_name: str, tensor: Tensor) -> Tensor:
    """Bring a tensor into the layout of our parameter ``name``, or return it unchanged.

    In every format, axes of length 1 around a vector are removed (GRN has been published as (C,),
    (1, C) and (1, 1, 1, C)), and a 1x1 convolution becomes a linear layer.
    """
    if their_name.endswith('.kernel') and tensor.ndim in (2, 3):
        square = math.isqrt(tensor.shape[0]) ** 2 == tensor.shape[0]
        return _from_kernel(tensor) if square else tensor
    if not name.endswith('.weight'):  # bias, gamma, beta
        return tensor.reshape(-1) if tensor.numel() == max(tensor.shape, default=0) else tensor
    if '.pwconv' in name and tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        return tensor[:, :, 0, 0]
    return tensor
