# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: DDP needs no find_unused_parameters, although ranks drop different blocks; and a
sharded backbone, whole or layer by layer, trains like the plain one.
"""

import os
from collections.abc import Callable
from pathlib import Path

import processes
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP1
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn.parallel import DistributedDataParallel

from mmconvnext import ConvNeXt
from mmconvnext.kernels.ops import capability
from mmconvnext.models import fusion
from mmconvnext.models.block import ConvNeXtBlock

pytestmark = [
    pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}'),
    pytest.mark.slow,
]
ARCH = dict(depths=[1, 2], channels=[8, 16])


def start(function: Callable[[], None], folder: Path) -> None:
    """Run a function in two gloo processes on the CPU."""
    done = processes.call(_process, folder, function, count=2)
    assert [process.returncode for process in done] == [0, 0], [p.stderr for p in done]


def _process(rank: int, folder: Path, function: Callable[[], None]) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')  # otherwise gloo looks up the host name
    dist.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=2)
    function()
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # otherwise a gloo thread that is still ending would abort the process


def drop_different_blocks() -> None:
    """Three steps in which most blocks are dropped; the ranks' gradients must be the same."""
    torch.manual_seed(0)
    model = DistributedDataParallel(ConvNeXt(ARCH, drop_path_rate=0.8, kernels='fast'))
    torch.manual_seed(dist.get_rank())
    for _ in range(3):
        model.zero_grad()
        sum(m.square().sum() for m in model(torch.randn(1, 3, 32, 32))).backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters()])
        both = [torch.empty_like(grads) for _ in range(2)]
        dist.all_gather(both, grads)
        assert grads.any() and torch.equal(*both)


def test_ranks_that_drop_different_blocks_agree(tmp_path):
    start(drop_different_blocks, tmp_path)


def _shard(model: nn.Module, kinds: tuple[type, ...]) -> nn.Module:
    """FSDP2: every module of these kinds, then the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh('cpu', (dist.get_world_size(),))

    for module in list(model.modules()):
        if isinstance(module, kinds):
            fully_shard(module, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _fsdp1(model: nn.Module, *kinds: type) -> nn.Module:
    policy = ModuleWrapPolicy(set(kinds)) if kinds else None
    return FSDP1(
        model, auto_wrap_policy=policy, use_orig_params=True, device_id=torch.device('cpu')
    )


# How to shard, and whether the blocks then run fast: their layers must be left as they are.
WAYS = {
    'FSDP1, whole': (_fsdp1, True),
    'FSDP1, blocks': (lambda m: _fsdp1(m, ConvNeXtBlock), True),
    'FSDP1, layers': (lambda m: _fsdp1(m, nn.Linear, nn.Conv2d), False),
    'FSDP2, whole': (lambda m: _shard(m, ()), True),
    'FSDP2, blocks': (lambda m: _shard(m, (ConvNeXtBlock,)), True),
    'FSDP2, layers': (lambda m: _shard(m, (nn.Linear, nn.LayerNorm)), False),
}


def _trained(model: nn.Module) -> torch.Tensor:
    """The maps after two steps, and after a third forward without gradients."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(1)
    image = torch.randn(2, 3, 32, 32)  # the same on each rank, so that gradients are as for one
    for _ in range(2):
        optimizer.zero_grad()
        maps = model(image)
        sum(m.square().mean() for m in maps).backward()
        optimizer.step()
    with torch.no_grad():
        last = model.eval()(image)
    return torch.cat([m.detach().flatten() for m in (*maps, *last)])


def shard_in_every_way() -> None:
    def build(kernels: str) -> ConvNeXt:
        torch.manual_seed(0)
        return ConvNeXt(ARCH, layer_scale_init_value=1.0, kernels=kernels)

    fusion.slower = lambda *_: ''  # fast wherever possible; this process ends here
    expected = _trained(build('plain'))
    for name, (wrap, fast) in WAYS.items():
        model = build('auto')
        report = model._report
        found = _trained(wrap(model))
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max(), name
        assert {not why for why in report.why.values()} == {fast}, (name, report.why)


@pytest.mark.skipif(
    not hasattr(torch.distributed.fsdp, 'fully_shard'), reason='this torch has no FSDP2'
)
def test_sharded_backbones_train_as_the_plain_one(tmp_path):
    start(shard_in_every_way, tmp_path)
