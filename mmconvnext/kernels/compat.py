# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Functions of torch that had another name before 2.4, or that only have a private name."""

from __future__ import annotations

from collections.abc import Callable

import torch


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The type that autocast computes with on this type of device; None if autocast is off."""
    if device_type not in ('cpu', 'cuda'):
        return None  # torch raises for devices without autocast, such as 'meta'
    if hasattr(torch, 'get_autocast_dtype'):  # 2.4
        on, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
        return dtype(device_type) if on(device_type) else None
    if device_type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def is_compiling() -> bool:
    """Whether torch.compile or torch.export traces this call."""
    if hasattr(torch.compiler, 'is_compiling'):  # 2.3
        return torch.compiler.is_compiling()
    return torch._utils.is_compiling()


def onednn_enabled() -> bool:
    """Whether oneDNN is enabled; ``torch.backends.mkldnn.flags`` can turn it off at run time."""
    return torch._C._get_mkldnn_enabled()


def register_fake(name: str) -> Callable[[Callable], Callable]:
    """Decorate the function that returns empty results of the operator ``name``, for tracing."""
    library = torch.library
    for register in ('register_fake', 'impl_abstract'):  # 2.4, 2.1
        if hasattr(library, register):
            return getattr(library, register)(name)
    return lambda function: function  # a torch this old does not trace operators
