# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/sync_batch_norm.py: on N processes as batch norm on the whole batch."""

import copy
import os

import processes
import pytest
import torch
import torch.distributed as dist
from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from torch import nn

from mmconvnext.distributed.sync_batch_norm import GlooSyncBatchNorm, share_batch_norm


def join(rank, folder) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    dist.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=2)


def leave() -> None:
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


def layers(size, **options):
    """A batch norm, and the same as SyncBN between layers of a model."""
    plain = nn.BatchNorm2d(size, **options)
    if plain.affine:
        nn.init.uniform_(plain.weight)
        nn.init.uniform_(plain.bias)
    shared = SyncBatchNorm(size, **options)  # what mmcv's SyncBN is: a subclass of torch's
    shared.load_state_dict(plain.state_dict())
    return plain, nn.Sequential(nn.Identity(), shared)


OPTIONS = [
    dict(),
    dict(momentum=None),
    dict(affine=False),
    dict(track_running_stats=False),
    dict(eps=0.5, momentum=0.3),
]


def _equal(rank, folder) -> None:
    join(rank, folder)
    for number, options in enumerate(OPTIONS):
        torch.manual_seed(number)
        plain, model = layers(3, **options)
        assert share_batch_norm(model) == 1
        shared = model[1]
        assert type(shared) is GlooSyncBatchNorm and share_batch_norm(model) == 0
        for _ in range(3):
            # Five samples, three of them on rank 0; far from 0, where variances lose digits.
            whole = torch.randn(5, 3, 4, 6) * torch.tensor([1, 5, 0.1]).view(3, 1, 1) + 30
            factor = torch.randn(5, 3, 4, 6)
            mine = slice(0, 3) if rank == 0 else slice(3, 5)
            x, y = whole.clone().requires_grad_(), whole[mine].clone().requires_grad_()
            expected, found = plain(x), model(y)
            (expected * factor).sum().backward()
            (found * factor[mine]).sum().backward()
            assert torch.allclose(found, expected[mine], atol=1e-4)
            assert torch.allclose(y.grad, x.grad[mine], atol=1e-4 * x.grad.abs().max())
        for (name, tensor), other in zip(plain.named_buffers(), shared.buffers(), strict=True):
            assert torch.allclose(tensor, other, rtol=1e-4), name
        for one, other in zip(plain.parameters(), shared.parameters(), strict=True):
            grad = other.grad.clone()
            dist.all_reduce(grad)
            assert torch.allclose(grad, one.grad, rtol=1e-3, atol=1e-3)
        model.eval(), plain.eval()
        assert torch.allclose(model(whole), plain(whole), atol=1e-4)
        again = copy.deepcopy(model)  # as EMAHook does
        assert type(again[1]) is GlooSyncBatchNorm
    leave()


def test_results_gradients_and_buffers(tmp_path):
    done = processes.call(_equal, tmp_path, count=2)
    assert [process.returncode for process in done] == [0, 0], [p.stderr for p in done]


def _odd(rank, folder) -> None:
    join(rank, folder)
    _, model = layers(2)
    share_batch_norm(model)
    half = model(torch.randn(2, 2, 3, 3).bfloat16())
    assert half.dtype == torch.bfloat16 and half.float().abs().max() > 0.1
    # One rank without a sample, as a head with masks of positives may be.
    out = model(torch.randn(2 * rank, 2, 3, 3, requires_grad=True))
    out.sum().backward()
    assert out.shape == (2 * rank, 2, 3, 3) and model[1].weight.grad is not None
    with pytest.raises(ValueError, match='expected at least 2D input'):
        model(torch.randn(4))
    with pytest.raises(ValueError, match='more than 1 value per channel .* got 1'):
        model(torch.randn(rank, 2))
    leave()


def test_odd_inputs(tmp_path):
    done = processes.call(_odd, tmp_path, count=2)
    assert [process.returncode for process in done] == [0, 0], [p.stderr for p in done]


def _others(rank, folder) -> None:
    join(rank, folder)

    class Own(nn.SyncBatchNorm):
        def forward(self, x):
            return x

    model = nn.Sequential(nn.BatchNorm2d(2), Own(2), nn.SyncBatchNorm(2, device='meta'))
    kinds = [type(module) for module in model]
    assert share_batch_norm(model) == 0 and [type(module) for module in model] == kinds
    leave()


def test_other_layers_stay(tmp_path):
    done = processes.call(_others, tmp_path, count=2)
    assert [process.returncode for process in done] == [0, 0], [p.stderr for p in done]


def test_a_single_process_keeps_its_layers():
    _, model = layers(3)
    assert share_batch_norm(model) == 0 and type(model[1]) is SyncBatchNorm
