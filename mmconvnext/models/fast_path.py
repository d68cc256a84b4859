# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The block on the fast path; :mod:`.fusion` decides whether a call takes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..kernels.block import FusedBlock, infer
from ..kernels.compat import autocast_dtype
from ..kernels.ops import OPS
from ..kernels.ops.fold import Folded, fold
from ..kernels.parameters import Options, Parameters


def run_fast(block: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    """The block on (N, C, H, W), with the parameters from :func:`.fusion.fast_parameters`."""
    keep, dtype = block.drop_path.draw(len(x)), branch_dtype(x)
    options = Options(
        eps=block.norm.eps,
        grn_eps=0.0 if block.grn is None else block.grn.eps,
        dtype=dtype,
        scale=1.0 if keep is None else 1 / (1 - block.drop_path.rate),
        keep=None if keep is None or keep.all() else keep.nonzero().flatten().tolist(),
    )
    # The plain path computes x + gamma * branch; the result has the widest of the three types.
    branch = dtype if p.gamma is None else torch.promote_types(dtype, p.gamma.dtype)
    x = x.to(torch.promote_types(x.dtype, branch))
    if keep is None and not needs_gradients(x, p):
        x_NHWC = x.permute(0, 2, 3, 1).contiguous()
        return infer(x_NHWC, p, options, _folded(block, p, options))
    return block.recomputed(_fused, x, options, p)


def _fused(x: Tensor, options: Options, p: Parameters) -> Tensor:
    return FusedBlock.apply(x.permute(0, 2, 3, 1).contiguous(), options, *p)


def _folded(block: nn.Module, p: Parameters, options: Options) -> Folded:
    """The weights that ``block.fuse()`` keeps, folded again if the parameters have changed."""
    kept = block._folded  # read once: another thread may call train()
    if kept is None or p.pwconv1_weight.device.type != 'cpu':
        return fold(p, options)
    layers = (*p.norm, *p.pwconv1, *p.pwconv2, p.gamma, *p.grn)
    mark = OPS.fingerprint([t for t in layers if t is not None])
    known = kept.get(options.dtype)
    if known is None or known[0] != mark:
        known = kept[options.dtype] = mark, fold(p, options)
    return known[1]


def branch_dtype(x: Tensor) -> torch.dtype:
    """The dtype that the branch is computed in."""
    return autocast_dtype(x.device.type) or x.dtype


def needs_gradients(x: Tensor, p: Parameters) -> bool:
    """Whether this call has to be differentiable."""
    return torch.is_grad_enabled() and (
        x.requires_grad or any(t is not None and t.requires_grad for t in p)
    )
