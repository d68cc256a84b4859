# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""SyncBN on CPUs, where torch's refuses its input: statistics over the images of all processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class GlooSyncBatchNorm(_BatchNorm):
    """torch's SyncBatchNorm, in plain operations and two sums over all processes.

    Parameters, buffers and results are those of batch norm on the whole batch of (N, C, ...), to
    rounding. It is no subclass, because DistributedDataParallel refuses SyncBatchNorm on CPUs.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) to the same.

        Raises:
            ValueError: all processes together have a single value for each channel, as in torch.
        """
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = _SumOverProcesses.apply(torch.cat([x.sum(dims), count]))
        total = sums[-1].detach()
        if total <= 1:
            raise ValueError(
                'SyncBN: expected more than 1 value per channel in all processes together, got '
                f'{int(total)}'
            )
        mean = sums[:-1] / total
        centred = x - mean.view(shape)
        # From the centred values: the difference of two sums would lose digits.
        var = _SumOverProcesses.apply(centred.square().sum(dims)) / total
        out = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape)
            out = out if self.bias is None else out + self.bias.view(shape)
        if self.track_running_stats:
            self._track(mean.detach(), var.detach() * total / (total - 1))
        return out.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'expected at least 2D input (got {input.dim()}D input)')

    def _track(self, mean: Tensor, var: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        factor = self.momentum  # None: the average of all batches
        if factor is None:
            factor = 1 / self.num_batches_tracked.item()
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), factor)
        self.running_var.lerp_(var.to(self.running_var.dtype), factor)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad


def share_batch_norm(model: nn.Module) -> int:
    """Turn torch's SyncBN layers of a model on CPUs into ours, if there are several processes.

    The modules stay the same objects, with their tensors and hooks. Returns how many there were.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return 0
    count = 0
    for module in model.modules():
        on_cpu = all(tensor.device.type == 'cpu' for tensor in module.buffers(recurse=False))
        # mmengine's subclass computes as torch's; another's forward would be lost.
        forward = getattr(type(module), 'forward', None)
        if forward is nn.SyncBatchNorm.forward and on_cpu:
            module.__class__ = GlooSyncBatchNorm  # which adds nothing to the object
            count += 1
    return count
