# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Whether the fast path may stand for a block: only where it computes what the modules would.

The fast path calls none of the block's modules. So whatever somebody put into, around or onto them
(LoRA, spectral norm, pruning, quantization, sharding, hooks of a profiler) must be seen here, and
the block then runs plain. What is not known to be safe is not safe: modules are compared by their
exact type, parameters by theirs, methods by identity.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from ..kernels.block import FusedBlock, Options, Parameters, fold, infer
from ..kernels.compat import autocast_dtype, is_compiling
from ..kernels.ops.mlp import OPS
from ..kernels.selection import slower, stand_aside, unmeasured, why_not
from .layers import DropPath, GlobalResponseNorm

# The children that the fast path computes itself, and the one type of each that it computes.
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
    """The function, or None if it is not torch's or ours: somebody had replaced it before."""
    function = getattr(owner, name)
    code = getattr(function, '__code__', None)  # builtin functions have none
    return function if code is None or code.co_filename.startswith(OWN_FOLDERS) else None


# What a call of a module runs through, down to the functions of torch: a tool that patches one of
# them is noticed.
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
METHODS = ('_branch', '_spatial', '_expand')  # of the block, which the fast path stands for


def fusible(kind: type) -> type:
    """Class decorator of the block: keeps its own methods, so that others are noticed."""
    kind.plain_methods = {name: getattr(kind, name) for name in METHODS}
    return kind


def fast_parameters(block: nn.Module, x: Tensor) -> Parameters | None:
    """What :func:`run_fast` computes this call with; None where the block must run plain.

    Tells the block's report.

    Raises:
        RuntimeError: kernels='fast' was asked for and is not possible; the message says why.
    """
    p = None
    why = "kernels='plain'" if block.kernels == 'plain' else stand_aside(x)
    if not why and block.kernels == 'auto':
        why = unmeasured(x)
    if not why:
        dtype = _branch_dtype(x)
        why = why_not(x, dtype) or structure_fault(block)
        p = None if why else parameters_of(block)
        why = why or parameters_fault(p, block.grn is not None) or input_fault(x, p)
        if why and block.kernels == 'fast':
            raise RuntimeError(
                f"kernels='fast' is not possible in {block.name}: {why}; use 'auto' or 'plain'"
            )
        if not why and block.kernels == 'auto':
            frozen = not (p.weight1.requires_grad or p.weight2.requires_grad)
            why = slower(dtype, _needs_gradients(x, p), frozen)
    if block.report is not None and not is_compiling():
        block.report.note(block.name, why)
    return None if why else p


def run_fast(block: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    """The block of (N, C, H, W) on the fast path, with what :func:`fast_parameters` returned."""
    keep, dtype = block.drop_path.draw(len(x)), _branch_dtype(x)
    options = Options(
        eps=block.norm.eps,
        grn_eps=0.0 if block.grn is None else block.grn.eps,
        dtype=dtype,
        scale=1.0 if keep is None else 1 / (1 - block.drop_path.rate),
        keep=None if keep is None or keep.all() else keep.nonzero().flatten().tolist(),
    )
    # The stream has the type that the sum of input and branch has on the plain path.
    branch = dtype if p.gamma is None else torch.promote_types(dtype, p.gamma.dtype)
    x = x.to(torch.promote_types(x.dtype, branch))
    if keep is None and not _needs_gradients(x, p):
        rows = x.permute(0, 2, 3, 1).contiguous()
        return infer(rows, p, options, _folded(block, p, options))
    return block._recomputed(_fused, x, options, p)


def _fused(x: Tensor, options: Options, p: Parameters) -> Tensor:
    return FusedBlock.apply(x.permute(0, 2, 3, 1).contiguous(), options, *p)


def _folded(block: nn.Module, p: Parameters, options: Options) -> tuple[Tensor, ...]:
    """The weights as kept by ``block.fuse()``, as long as the parameters hold what they held."""
    kept = block._folded  # read once: another thread may call train()
    if kept is None or p.weight1.device.type != 'cpu':
        return fold(p, options)
    mark = OPS.fingerprint([t for t in p[2:] if t is not None])
    known = kept.get(options.dtype)
    if known is None or known[0] != mark:
        known = kept[options.dtype] = mark, fold(p, options)
    return known[1]


def _branch_dtype(x: Tensor) -> torch.dtype:
    """The type in which the branch computes."""
    return autocast_dtype(x.device.type) or x.dtype


def _needs_gradients(x: Tensor, p: Parameters) -> bool:
    return torch.is_grad_enabled() and (
        x.requires_grad or any(t is not None and t.requires_grad for t in p)
    )


def parameters_of(block: nn.Module) -> Parameters:
    """What the fast path computes with; the block's structure must be the paper's."""
    norm, first, second, grn = block.norm, block.pwconv1, block.pwconv2, block.grn
    return Parameters(
        *(block.dwconv.weight, block.dwconv.bias, norm.weight, norm.bias),
        *(first.weight, first.bias, second.weight, second.bias, block.gamma),
        *((None, None) if grn is None else (grn.gamma, grn.beta)),
    )


def structure_fault(block: nn.Module) -> str:
    """What in the block the fast path would ignore, or ''."""
    if block.design.unfusible:
        return f'design {block.design.unfusible}'
    for name, method in block.plain_methods.items():
        if name in block.__dict__ or getattr(type(block), name) is not method:
            return f'it has another {name}'
    if not (block.spatial_first and block.norm1 is block.norm2 is None and not block.every_act):
        return 'it has more norms or activations, or another order'
    for (owner, name), function in PATCHED.items():
        if getattr(owner, name) is not function:
            return f'{owner.__name__}.{name} was replaced'
    if any(getattr(torch_module, hooks, None) for hooks in GLOBAL_HOOKS):
        return 'there are hooks on all modules'
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
            return f'has another {name}'
    if any(own.get(hooks) for hooks in HOOKS):
        return 'has hooks'
    return f'holds {next(iter(own["_modules"]))}' if own['_modules'] else ''


def _full_name(kind: type) -> str:
    return f'{kind.__module__}.{kind.__qualname__}'


def _settings_fault(block: nn.Module) -> str:
    """Settings of torch's own modules that the fast path does not have, or ''."""
    conv, channels = block.dwconv, block.pwconv1.in_features
    given = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.padding_mode)
    if given != ((7, 7), (1, 1), (3, 3), (1, 1), 'zeros'):
        return f'dwconv is another convolution: {conv}'
    if conv.groups != channels:
        return f'dwconv has {conv.groups} groups of {channels} channels'
    if block.act.approximate != 'none':
        return f'act is GELU by {block.act.approximate}'
    if block.norm.normalized_shape != (channels,):
        return f'norm is over {block.norm.normalized_shape}'
    return ''


def parameters_fault(p: Parameters, grn: bool) -> str:
    """What is wrong with the parameters by themselves, of a block with ``grn`` or without; or ''.

    Weights of another kind or shape are those of quantization, pruning or sharding.
    """
    c, k = len(p.weight1.mT) if p.weight1.ndim == 2 else -1, len(p.weight1)
    sizes = Parameters(
        *((c, 1, 7, 7), (c,), (c,), (c,), (k, c), (k,), (c, k), (c,)),
        *((c,), (k,), (k,)),
    )
    optional = ('gamma',) if grn else ('gamma', 'grn_gamma', 'grn_beta')
    for name, tensor, size in zip(Parameters._fields, p, sizes):
        if tensor is None:
            if name not in optional:
                return f'{name} is missing'
        elif type(tensor) not in (Tensor, nn.Parameter):
            return f'{name} is a {type(tensor).__name__}'
        elif tensor.shape != size:
            return f'{name} has the shape {tuple(tensor.shape)}, not {size}'
    return ''


def input_fault(x: Tensor, p: Parameters) -> str:
    """Why the parameters do not go with the input, or ''.

    Plain raises in most of these cases, and is left to do so.
    """
    if x.ndim != 4 or x.shape[1] != len(p.bias2):
        return f'the input has the shape {tuple(x.shape)}'
    cast = autocast_dtype(x.device.type)
    allowed = (x.dtype,) if cast is None else (torch.float32, cast)
    dtype, device = p.dw_weight.dtype, x.device
    for name, tensor in zip(Parameters._fields, p):
        if tensor is None:
            continue
        if not tensor.data_ptr():
            return f'{name} has no memory'
        if tensor.device != device or tensor.layout != torch.strided:
            return f'{name} is a {tensor.layout} tensor on {tensor.device}'
        if tensor.dtype not in allowed or tensor.dtype != dtype:
            return f'{name} is of {tensor.dtype}, the input of {x.dtype}'
    return ''
