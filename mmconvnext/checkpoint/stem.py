# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Adapt the stem's filters to images with a different number of channels."""

from __future__ import annotations

import torch
from torch import Tensor

STEM = 'downsample_layers.0.0.weight'
RULES = ('repeat', 'mean', 'zero')


def inflate(weight: Tensor, channels: int, rule: str = 'repeat') -> Tensor:
    """Turn filters (O, m, k, k) for m input channels into (O, channels, k, k).

    Rules:
        'repeat': channel c gets the filters of channel c modulo m, times m / channels; a single
            channel gets the sum of all (timm's rule, models/_manipulate.py).
        'mean': every channel gets the mean over all, times m / channels, which keeps the response
            to an image whose channels are all equal.
        'zero': the first m are kept, and so is the exact response to RGB; the others start at
            zero. Needs ``channels`` >= m.

    Raises:
        ValueError: unknown rule, or fewer channels than 'zero' can keep.
    """
    if rule not in RULES:
        raise ValueError(f'stem={rule!r} is unknown; choose one of {list(RULES)}')
    given = weight.shape[1]
    if rule == 'zero':
        if channels < given:
            raise ValueError(
                f"stem='zero' keeps the file's {given} channels, but in_channels is {channels}; "
                "use 'repeat' or 'mean'"
            )
        filters, _, *kernel = weight.shape
        return torch.cat([weight, weight.new_zeros(filters, channels - given, *kernel)], dim=1)
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    if rule == 'mean':
        return weight.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1) * (given / channels)
    index = torch.arange(channels) % given
    return weight[:, index] * (given / channels)
