# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which path runs where: the settings, and what can be said without looking at the block."""

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
# Not float16: layer scale is taken into the weights, and from 1e-6, where it starts, most of them
# would be zero in that type, and all gradients of the branch with them.
DTYPES = (torch.float32, torch.bfloat16)
DEVICES = ('cpu', 'cuda')


def check_setting(setting: str) -> str:
    """Return the setting, or what the environment variable says in place of 'auto'.

    Raises:
        ValueError: neither 'auto', 'plain' nor 'fast'.
    """
    for name, value in (('kernels', setting), (VARIABLE, os.environ.get(VARIABLE, 'auto'))):
        if value not in SETTINGS:
            raise ValueError(f'{name}={value!r} is unknown; choose one of {list(SETTINGS)}')
    return os.environ.get(VARIABLE, setting) if setting == 'auto' else setting


def stand_aside(x: Tensor) -> str:
    """Why this call wants the layers themselves, whatever the block is made of; or ''.

    A compiler fuses the plain path itself; a tracer, a counter of FLOPs or a transform of functions
    looks at each layer or operator. Such calls run plain also under ``kernels='fast'``.
    """
    if is_compiling() or torch.jit.is_tracing():
        return 'the call is compiled or traced'
    if type(x) not in (Tensor, nn.Parameter):
        return f'the input is a {type(x).__name__}'
    if not x.numel():
        return 'the map is empty'
    if torch._C._len_torch_dispatch_stack():
        return 'a dispatch mode looks at each operator'
    if torch._C._len_torch_function_stack() and _looks_at_functions():
        return 'a function mode looks at each function'
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return 'torch.func transforms the call'
    if torch.autograd.forward_ad._current_level >= 0:
        return 'forward-mode differentiation is on'
    return ''


def _looks_at_functions() -> bool:
    """Whether there is a mode besides torch.set_default_device's, which minds factories alone."""
    from torch.overrides import _get_current_function_mode_stack
    from torch.utils._device import DeviceContext

    return any(not isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack())


def why_not(x: Tensor, dtype: torch.dtype) -> str:
    """Why there is no fast path for ``x`` and a branch of type ``dtype``, or ''."""
    kind = x.device.type
    if kind not in DEVICES:
        return f'there are no kernels for {kind}'
    if dtype not in DTYPES:
        return f'there are no kernels for {dtype}'
    if x.dtype not in (dtype, torch.float32):
        return f'there are no kernels for a {x.dtype} input of a {dtype} branch'
    if kind == 'cuda':
        return _no_triton()
    if not onednn_enabled():
        return 'torch.backends.mkldnn is turned off, and the kernels multiply with it'
    return '' if capability()[0] else capability()[1]


def unmeasured(x: Tensor) -> str:
    """Why 'auto' does not even look at the block: nobody knows whether it is faster; or ''."""
    if x.device.type == 'cuda':
        return "the kernels for CUDA are not measured yet; kernels='fast' takes them"
    return ''


def slower(dtype: torch.dtype, training: bool, frozen: bool) -> str:
    """Why 'auto' runs plain on a CPU though there is a fast path: it was measured slower; or ''.

    Source: benchmarks/results/processors_epyc_202611.md.

    Args:
        dtype: the type of the branch.
        training: whether gradients are wanted.
        frozen: whether those of the pointwise layers' weights are not.
    """
    half, wide = dtype == torch.bfloat16, capability()[0] == 'AVX512'
    if not has_products() and not (training and half and wide):
        return "plain is faster with a torch that does not export oneDNN's products"
    if not half and not wide:
        return 'plain is faster in float32 on processors without AVX512'
    if training and frozen and half:
        return 'plain is faster in bfloat16 where the weights are frozen'
    return ''


@cache
def _no_triton() -> str:
    """Register the CUDA side; why that is not possible, or ''."""
    try:
        import_module('mmconvnext.kernels.cuda')
    except ImportError as error:
        return f'triton 3.3 or later is needed ({error})'
    return ''
