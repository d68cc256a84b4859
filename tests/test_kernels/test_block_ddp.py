# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: DDP needs no find_unused_parameters, although ranks leave out different blocks."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from mmconvnext import ConvNeXt
from mmconvnext.kernels.ops import capability

pytestmark = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
ARCH = dict(depths=[1, 2], channels=[8, 16])


def train(rank: int, port: int) -> None:
    """Three steps in which most blocks are dropped; the ranks' gradients must be the same."""
    torch.set_num_threads(1)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')  # without it gloo looks up the host's name
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    torch.manual_seed(0)
    model = DistributedDataParallel(ConvNeXt(ARCH, drop_path_rate=0.8, kernels='fast'))
    torch.manual_seed(rank)
    for _ in range(3):
        model.zero_grad()
        sum(m.square().sum() for m in model(torch.randn(1, 3, 32, 32))).backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters()])
        both = [torch.empty_like(grads) for _ in range(2)]
        dist.all_gather(both, grads)
        assert grads.any() and torch.equal(*both)
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_that_drop_different_blocks_agree():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(train, args=(port,), nprocs=2)
