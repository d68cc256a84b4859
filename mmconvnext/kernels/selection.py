# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which path runs: the settings, and the reasons that do not depend on the block's layers."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module

import torch
from torch import Tensor, nn

from .compat import is_compiling, onednn_enabled
from .ops import capability, has_products

VARIABLE = 'MMCONVNEXT_KERNELS'
SETTINGS = ('auto', 'plain', 'fast')
# No float16: layer scale is folded into the weights. It starts at 1e-6, where most of the products
# would underflow to zero in float16, and so would all gradients of the branch.
DTYPES = (torch.float32, torch.bfloat16)
DEVICES = ('cpu', 'cuda')


def check_setting(setting: str) -> str:
    """Return the setting; the environment variable replaces 'auto'.

    Raises:
        ValueError: the setting or the variable is not 'auto', 'plain' or 'fast'.
    """
    for name, value in (('kernels', setting), (VARIABLE, os.environ.get(VARIABLE, 'auto'))):
        if value not in SETTINGS:
            raise ValueError(f'{name}={value!r} is unknown; choose one of {list(SETTINGS)}')
    return os.environ.get(VARIABLE, setting) if setting == 'auto' else setting


def stand_aside(x: Tensor) -> str:
    """Why this call must run the layers themselves, whatever they are; or ''.

    A compiler fuses the plain path itself. Tracers, FLOP counters and function transforms need to
    see every layer or operator. Such calls run plain even with ``kernels='fast'``.
    """
    if is_compiling() or torch.jit.is_tracing():
        return 'the call is compiled or traced'
    if type(x) not in (Tensor, nn.Parameter):
        return f'the input is a {type(x).__name__}'
    if not x.numel():
        return 'the map is empty'
    if torch._C._len_torch_dispatch_stack():
        return 'a dispatch mode intercepts the operators'
    if torch._C._len_torch_function_stack() and _intercepts_functions():
        return 'a function mode intercepts the functions'
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return 'torch.func transforms the call'
    if torch.autograd.forward_ad._current_level >= 0:
        return 'forward-mode differentiation is on'
    return ''


def _intercepts_functions() -> bool:
    """Whether a mode other than torch.set_default_device's, for new tensors only, is on."""
    from torch.overrides import _get_current_function_mode_stack
    from torch.utils._device import DeviceContext

    return any(not isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack())


def why_not(x: Tensor, dtype: torch.dtype) -> str:
    """Why there is no fast path for ``x`` with a branch of type ``dtype``, or ''."""
    kind = x.device.type
    if kind not in DEVICES:
        return f'there are no kernels for {kind}'
    if dtype not in DTYPES:
        return f'there are no kernels for {dtype}'
    if x.dtype not in (dtype, torch.float32):
        return f'there are no kernels for a {x.dtype} input with a {dtype} branch'
    if kind == 'cuda':
        return _no_triton()
    if not onednn_enabled():
        return 'torch.backends.mkldnn is turned off, but the kernels need it'
    return '' if capability()[0] else capability()[1]


def unmeasured(x: Tensor) -> str:
    """Why 'auto' runs plain without looking at the block: speed was not measured; or ''."""
    if x.device.type == 'cuda':
        return "the CUDA kernels have not been measured yet; kernels='fast' turns them on"
    return ''


def slower(dtype: torch.dtype, training: bool, frozen: bool) -> str:
    """Why 'auto' runs plain on a CPU that has a fast path: it was measured to be slower; or ''.

    Source: benchmarks/results/processors_epyc_202611.md.

    Args:
        dtype: the type of the branch.
        training: whether the call needs gradients.
        frozen: whether the weights of both pointwise layers are frozen.
    """
    half, wide = dtype == torch.bfloat16, capability()[0] == 'AVX512'
    if not has_products() and not (training and half and wide):
        return "plain is faster if torch does not export oneDNN's matrix products"
    if not half and not wide:
        return 'plain is faster in float32 on processors without AVX512'
    if training and frozen and half:
        return 'plain is faster in bfloat16 if the weights are frozen'
    return ''


@cache
def _no_triton() -> str:
    """Register the operators for CUDA; return why that is not possible, or ''."""
    try:
        import_module('mmconvnext.kernels.cuda')
    except ImportError as error:
        return f'triton 3.3 or later is needed ({error})'
    return ''
