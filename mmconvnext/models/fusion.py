# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Decides whether a call of the block takes the fast path: only if the result stays the same.

The fast path calls none of the block's modules. Any change that a user or a tool makes to them
(LoRA, spectral norm, pruning, quantization, sharding, a profiler's hooks) must be detected here;
the block then runs plain. Anything not known to be safe counts as unsafe: modules and parameters
are compared by their exact type, methods by identity.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from ..kernels.compat import autocast_dtype, is_compiling
from ..kernels.parameters import Parameters
from ..kernels.selection import slower, stand_aside, unmeasured, why_not
from .fast_path import branch_dtype, needs_gradients
from .layers import DropPath, GlobalResponseNorm

# The submodules that the fast path replaces, each with the only type that it supports.
KINDS = {
    'dwconv': nn.Conv2d,
    'norm': nn.LayerNorm,
    'pwconv1': nn.Linear,
    'act': nn.GELU,
    'grn': GlobalResponseNorm,
    'pwconv2': nn.Linear,
    'drop_path': DropPath,
}
HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')
GLOBAL_HOOKS = tuple(f'_global{hooks}' for hooks in HOOKS)
OWN_FOLDERS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def _original(owner: object, name: str) -> object:
    """The function, or None if it was patched before, so it is neither torch's nor ours."""
    function = getattr(owner, name)
    code = getattr(function, '__code__', None)  # builtin functions have none
    return function if code is None or code.co_filename.startswith(OWN_FOLDERS) else None


# The functions that a call of a module runs through, down to torch's own. If a tool patches one of
# them, the block runs plain.
CALLED = ('forward', '_conv_forward', '_call_impl', '__call__')
PATCHED = {
    (owner, name): _original(owner, name)
    for owner, names in {
        **{kind: CALLED for kind in KINDS.values()},
        F: ('linear', 'gelu', 'layer_norm', 'conv2d'),
    }.items()
    for name in names
    if hasattr(owner, name)
}
METHODS = ('_branch',)  # the block's methods that the fast path replaces
# The parameters' names in the state dict, in the order of the tuple's fields.
NAMES = tuple(field.replace('_', '.', 1) for field in Parameters._fields)


def fusible(kind: type) -> type:
    """Class decorator for the block: records its methods, so that overrides are detected."""
    kind.plain_methods = {name: getattr(kind, name) for name in METHODS}
    return kind


def fast_parameters(block: nn.Module, x: Tensor) -> Parameters | None:
    """The parameters for :func:`.fast_path.run_fast`, or None if this call must run plain.

    The path and the reason are recorded in the block's report.

    Raises:
        RuntimeError: the block was built with kernels='fast', but cannot run fast; the message says
            why.
    """
    p, why = None, _call_fault(block, x)
    if not why:
        p, why = _parameters_or_fault(block, x)
        if why and block.kernels == 'fast':
            raise RuntimeError(
                f"kernels='fast' is not possible in {block.name}: {why}; use 'auto' or 'plain'"
            )
        if not why and block.kernels == 'auto':
            frozen = not (p.pwconv1_weight.requires_grad or p.pwconv2_weight.requires_grad)
            why = slower(branch_dtype(x), needs_gradients(x, p), frozen)
    if block.report is not None and not is_compiling():
        block.report.note(block.name, why)
    return None if why else p


def _call_fault(block: nn.Module, x: Tensor) -> str:
    """Why this call runs plain regardless of the block's layers, or ''."""
    if block.kernels == 'plain':
        return "kernels='plain'"
    why = stand_aside(x)
    return unmeasured(x) if not why and block.kernels == 'auto' else why


def _parameters_or_fault(block: nn.Module, x: Tensor) -> tuple[Parameters | None, str]:
    """The block's parameters, or None and why the fast path cannot compute this call."""
    why = why_not(x, branch_dtype(x)) or structure_fault(block)
    if why:
        return None, why
    p = parameters_of(block)
    return p, parameters_fault(p, block.grn is not None) or input_fault(x, p)


def parameters_of(block: nn.Module) -> Parameters:
    """The parameters of a block whose structure is the paper's."""
    return Parameters(
        dwconv_weight=block.dwconv.weight,
        dwconv_bias=block.dwconv.bias,
        norm_weight=block.norm.weight,
        norm_bias=block.norm.bias,
        pwconv1_weight=block.pwconv1.weight,
        pwconv1_bias=block.pwconv1.bias,
        pwconv2_weight=block.pwconv2.weight,
        pwconv2_bias=block.pwconv2.bias,
        gamma=block.gamma,
        grn_gamma=None if block.grn is None else block.grn.gamma,
        grn_beta=None if block.grn is None else block.grn.beta,
    )


def structure_fault(block: nn.Module) -> str:
    """What the fast path would silently ignore in this block, or ''."""
    if block.design.unfusible:
        return f'design {block.design.unfusible}'
    for name, method in block.plain_methods.items():
        if name in block.__dict__ or getattr(type(block), name) is not method:
            return f'its {name} was replaced'
    if block.is_ablated:
        return 'it has extra norms or activations, or a different layer order'
    for (owner, name), function in PATCHED.items():
        if getattr(owner, name) is not function:
            return f'{owner.__name__}.{name} was replaced'
    if any(getattr(torch_module, hooks, None) for hooks in GLOBAL_HOOKS):
        return 'hooks are registered for all modules'
    for name, kind in KINDS.items():
        module = getattr(block, name)
        fault = '' if module is None and name == 'grn' else _module_fault(module, kind)
        if fault:
            return f'{name} {fault}'
    return _settings_fault(block)


def _module_fault(module: object, kind: type) -> str:
    if type(module) is not kind:
        return f'is a {_full_name(type(module))}, not a {_full_name(kind)}'
    own = module.__dict__
    for name in CALLED:
        if name in own:
            return f'has a replaced {name}'
    if any(own.get(hooks) for hooks in HOOKS):
        return 'has hooks'
    return f'contains {next(iter(own["_modules"]))}' if own['_modules'] else ''


def _full_name(kind: type) -> str:
    return f'{kind.__module__}.{kind.__qualname__}'


def _settings_fault(block: nn.Module) -> str:
    """Settings of torch's own modules that the fast path does not support, or ''."""
    conv, channels = block.dwconv, block.pwconv1.in_features
    given = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode)
    if given != ((7, 7), (1, 1), (3, 3), (1, 1), 'zeros'):
        return f'dwconv is a different convolution: {conv}'
    if conv.groups != channels:
        return f'dwconv has {conv.groups} groups for {channels} channels'
    if block.act.approximate != 'none':
        return f'act is GELU with approximate={block.act.approximate!r}'
    if block.norm.normalized_shape != (channels,):
        return f'norm has normalized_shape={block.norm.normalized_shape}'
    return ''


def parameters_fault(p: Parameters, grn: bool) -> str:
    """Why the fast path cannot use the parameters of a block with or without GRN, or ''.

    Quantization, pruning and sharding leave tensors of a different type or shape.
    """
    K, C = p.pwconv1_weight.shape if p.pwconv1_weight.ndim == 2 else (len(p.pwconv1_weight), -1)
    sizes = Parameters(
        dwconv_weight=(C, 1, 7, 7),
        dwconv_bias=(C,),
        norm_weight=(C,),
        norm_bias=(C,),
        pwconv1_weight=(K, C),
        pwconv1_bias=(K,),
        pwconv2_weight=(C, K),
        pwconv2_bias=(C,),
        gamma=(C,),
        grn_gamma=(K,),
        grn_beta=(K,),
    )
    optional = ('gamma',) if grn else ('gamma', 'grn.gamma', 'grn.beta')
    for name, tensor, size in zip(NAMES, p, sizes):
        if tensor is None:
            if name not in optional:
                return f'{name} is missing'
        elif type(tensor) not in (Tensor, nn.Parameter):
            return f'{name} is a {type(tensor).__name__}'
        elif tensor.shape != size:
            return f'{name} has shape {tuple(tensor.shape)}, not {size}'
    return ''


def input_fault(x: Tensor, p: Parameters) -> str:
    """Why the parameters do not fit the input, or ''. The plain path raises in most such cases."""
    if x.ndim != 4 or x.shape[1] != len(p.pwconv2_bias):
        return f'the input has shape {tuple(x.shape)}'
    cast = autocast_dtype(x.device.type)
    allowed = (x.dtype,) if cast is None else (torch.float32, cast)
    dtype, device = p.dwconv_weight.dtype, x.device
    for name, tensor in zip(NAMES, p):
        if tensor is None:
            continue
        if tensor.device != device or tensor.layout != torch.strided:
            return f'{name} is a {tensor.layout} tensor on {tensor.device}'
        if not tensor.data_ptr():  # which fails for other layouts
            return f'{name} has no storage'
        if tensor.dtype not in allowed or tensor.dtype != dtype:
            return f'{name} is {tensor.dtype}, the input is {x.dtype}'
    return ''
