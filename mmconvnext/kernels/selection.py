# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which path runs: the one decision, and the one line that tells it."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module

import torch
from mmengine.logging import print_log
from torch import Tensor

from .compat import is_compiling, onednn_enabled
from .ops import capability

VARIABLE = 'MMCONVNEXT_KERNELS'
SETTINGS = ('auto', 'plain', 'fast')
# Not float16: layer scale is taken into the weights, and from 1e-6, where it starts, most of them
# would be zero in that type, and all gradients of the branch with them.
DTYPES = (torch.float32, torch.bfloat16)
DEVICES = ('cpu', 'cuda')
_told: set[tuple[str, bool]] = set()


def check_setting(setting: str) -> str:
    """Return the setting, or what the environment variable says in place of 'auto'.

    Raises:
        ValueError: neither 'auto', 'plain' nor 'fast'.
    """
    for name, value in (('kernels', setting), (VARIABLE, os.environ.get(VARIABLE, 'auto'))):
        if value not in SETTINGS:
            raise ValueError(f'{name}={value!r} is unknown; choose one of {list(SETTINGS)}')
    return os.environ.get(VARIABLE, setting) if setting == 'auto' else setting


def choose(setting: str, x: Tensor) -> bool:
    """Whether the fast path computes a block whose input is ``x``; says so once.

    Args:
        setting: 'auto' takes it where it is compiled and measured to be faster, which is on a CPU;
            'plain' never; 'fast' always.
        x: the input, in the type that the block computes with.

    Raises:
        RuntimeError: 'fast' was asked for and is not possible; the message says why.
    """
    if is_compiling() or torch.jit.is_tracing():
        return False  # Inductor fuses the plain path itself; a trace, of FLOPs say, wants layers
    if setting == 'auto' and x.device.type == 'cuda':
        reason = "those for CUDA are not measured yet; kernels='fast' takes them"
    else:
        reason = why_not(x)
    if setting == 'fast' and reason:
        raise RuntimeError(f"kernels='fast' is not possible here: {reason}; use 'auto' or 'plain'")
    fast = setting != 'plain' and not reason
    key = (x.device.type, fast)
    if key not in _told and key[0] != 'meta':
        _told.add(key)
        made = capability()[0] if key[0] == 'cpu' else 'Triton'
        how = f'fast kernels ({made})' if fast else 'plain PyTorch'
        why = f': {reason}' if reason and setting == 'auto' else ''
        print_log(f'ConvNeXt blocks on {key[0]}: {how}{why}', 'current')
    return fast


def why_not(x: Tensor) -> str:
    """Why there is no fast path for ``x``, or ''."""
    kind = x.device.type
    if kind not in DEVICES:
        return f'there are none for {kind}'
    if x.dtype not in DTYPES:
        return f'there are none for {x.dtype}'
    if kind == 'cuda':
        return _no_triton()
    if not onednn_enabled():
        return 'they need oneDNN, which torch.backends.mkldnn turns off'
    return '' if capability()[0] else capability()[1]


@cache
def _no_triton() -> str:
    """Register the CUDA side; why that is not possible, or ''."""
    try:
        import_module('mmconvnext.kernels.cuda')
    except ImportError as error:
        return f'triton 3.3 or later is needed ({error})'
    return ''
