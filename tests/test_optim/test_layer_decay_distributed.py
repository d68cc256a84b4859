# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: whatever wraps or shards the model, groups, rates and weight decays are those of the
plain model.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import processes
import pytest
import torch
import torch.distributed as dist
from mmengine.model import (
    MMDistributedDataParallel,
    MMFullyShardedDataParallel,
    MMSeparateDistributedDataParallel,
)
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP1
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn.parallel import DistributedDataParallel as DDP

from mmconvnext.models import ConvNeXt
from mmconvnext.models.block import ConvNeXtBlock

LR, DECAY, PROCESSES = 1e-2, 0.5, 2
WRAPPERS = r'_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|module'


class Neck(nn.Module):
    """Parameters whose full shape does not follow from the module's type or the name."""

    def __init__(self) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.rand(3, 8))
        self.temperature = nn.Parameter(torch.rand(8))
        self.scale = nn.Parameter(torch.rand(8, 1, 1))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 8, 3)
        self.norm = nn.GroupNorm(2, 8)
        self.act = nn.PReLU(8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.queries = nn.Embedding(5, 8)
        self.classes = nn.Linear(8, 1)


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        arch = dict(depths=(1, 1, 2, 1), channels=[4, 8, 12, 16])
        self.backbone = ConvNeXt(arch, 'v1', layer_scale_init_value=0.5, frozen_stages=0)
        self.second = ConvNeXt(arch, 'v2')
        self.neck = Neck()
        self.head = Head()


def checkpoint_parts(model: nn.Module) -> nn.Module:
    for stage in model.backbone.stages:
        for i, block in enumerate(stage):
            stage[i] = checkpoint_wrapper(block)
    model.second.stages[1] = checkpoint_wrapper(model.second.stages[1])
    return model


def compile_backbone(model: nn.Module) -> nn.Module:
    model.backbone = torch.compile(model.backbone)
    return model


def compile_parts(model: nn.Module) -> nn.Module:
    stages = model.backbone.stages
    stages[0], stages[2][1] = torch.compile(stages[0]), torch.compile(stages[2][1])
    stages[3][0].pwconv1 = torch.compile(stages[3][0].pwconv1)
    model.backbone.norm0 = torch.compile(model.backbone.norm0)
    model.head.norm = torch.compile(model.head.norm)
    return model


def fsdp1_of(*kinds: type) -> Callable:
    return partial(
        FSDP1,
        auto_wrap_policy=ModuleWrapPolicy(set(kinds)) if kinds else None,
        use_orig_params=True,
        device_id=torch.device('cpu'),
    )


def fsdp2_of(*kinds: type) -> Callable:
    def shard(model: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh('cpu', (PROCESSES,))
        for module in reversed(list(model.modules())):  # what is inside comes first
            if isinstance(module, kinds):
                fully_shard(module, mesh=mesh)
        return fully_shard(model, mesh=mesh)

    return shard


CASES: dict[str, list[Callable]] = {
    'plain': [],
    'ddp': [DDP],
    'mmengine ddp': [MMDistributedDataParallel],
    'mmengine separate ddp': [MMSeparateDistributedDataParallel],
    'compile': [torch.compile],
    'compile backbone': [compile_backbone],
    'compile parts': [compile_parts],
    'checkpoint': [checkpoint_parts],
    'fsdp1': [fsdp1_of()],
    'fsdp1 blocks': [fsdp1_of(ConvNeXtBlock, nn.LayerNorm, Head)],
    'fsdp1 backbone': [fsdp1_of(ConvNeXt)],
    'fsdp1 linears': [fsdp1_of(nn.Linear, nn.Conv2d, nn.LayerNorm)],
    'mmengine fsdp1': [partial(MMFullyShardedDataParallel, device_id=torch.device('cpu'))],
    'fsdp2': [fsdp2_of()],
    'fsdp2 blocks': [fsdp2_of(ConvNeXtBlock, nn.LayerNorm, Head)],
    'fsdp2 backbone': [fsdp2_of(ConvNeXt)],
    'checkpoint compile ddp': [checkpoint_parts, compile_backbone, DDP],
    'ddp compile': [DDP, torch.compile],
    'checkpoint fsdp1 compile': [checkpoint_parts, fsdp1_of(ConvNeXtBlock), torch.compile],
    'checkpoint fsdp2 compile': [checkpoint_parts, fsdp2_of(ConvNeXtBlock), torch.compile],
    'zero': [],
    'zero ddp': [MMDistributedDataParallel],
}
ADAMW = dict(type='AdamW', lr=LR, weight_decay=DECAY)
ZERO = {**ADAMW, 'type': 'ZeroRedundancyOptimizer', 'optimizer_type': 'AdamW'}


def local(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.to_local() if hasattr(tensor, 'to_local') else tensor).detach().clone()


def table_of(wraps: list[Callable], optimizer: dict = ADAMW) -> dict:
    """The groups, as (rate, decay, names), and what a step without gradients does to them."""
    model = Detector()
    for wrap in wraps:
        model = wrap(model)
    cfg = dict(
        constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
        optimizer=optimizer,
        paramwise_cfg=dict(
            decay_rate=0.5,
            bias_lr_mult=2.0,
            custom_keys={
                'backbone.stages.2': dict(lr_mult=0.5),
                'backbone.stages.2.1': dict(decay_mult=0.5),
            },
        ),
    )
    optimizer = build_optim_wrapper(model, cfg).optimizer
    names = {id(param): name for name, param in model.named_parameters()}
    groups, shrunk = [], True
    for group in optimizer.param_groups:
        lr, decay = group['lr'], group['weight_decay']
        groups.append([lr, decay, [names[id(param)] for param in group['params']]])
        for param in group['params']:
            param.grad = torch.zeros_like(param)
    before = {id(p): local(p) for group in optimizer.param_groups for p in group['params']}
    optimizer.step()
    for group in optimizer.param_groups:
        for param in group['params']:
            kept = 1 - group['lr'] * group['weight_decay']
            shrunk &= torch.allclose(local(param), kept * before[id(param)], rtol=1e-6, atol=0)
    return dict(groups=groups, shrunk=shrunk, elements=sum(map(torch.numel, before.values())))


def refusal_of_flat_parameters() -> str:
    one = partial(FSDP1, device_id=torch.device('cpu'), use_orig_params=False)
    try:
        table_of([lambda model: one(model.requires_grad_(True))])
    except ValueError as error:
        return str(error)
    return 'none'


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ['MMCONVNEXT_KERNELS'] = 'plain'
    if sys.platform == 'linux':  # otherwise gloo looks up the host name
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=PROCESSES
    )
    tables = {}
    for name, wraps in CASES.items():
        try:
            tables[name] = table_of(wraps, ZERO if 'zero' in name else ADAMW)
        except ImportError as error:  # FSDP2, in a torch before 2.6
            tables[name] = dict(skip=f'torch {torch.__version__} has no FSDP2: {error}')
        except ValueError as error:
            tables[name] = dict(error=str(error))
    tables['flat'] = refusal_of_flat_parameters()
    Path(folder, f'{rank}.json').write_text(json.dumps(tables))
    dist.destroy_process_group()
    sys.stderr.flush()
    os._exit(0)  # otherwise a gloo thread that is still ending would abort the process


@pytest.fixture(scope='module')
def tables(tmp_path_factory) -> list[dict]:
    """The tables of each process; the processes are started once for all tests."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip('this torch has no gloo')
    folder = tmp_path_factory.mktemp('tables')
    done = processes.call(work, str(folder), count=PROCESSES)
    assert [process.returncode for process in done] == [0] * PROCESSES, [p.stderr for p in done]
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(PROCESSES)]


def of_plain_names(groups: list) -> list:
    return [
        [lr, decay, [re.sub(rf'\b({WRAPPERS})\.', '', name) for name in names]]
        for lr, decay, names in groups
    ]


@pytest.mark.slow
@pytest.mark.parametrize('case', list(CASES))
def test_groups_rates_and_decay_are_those_of_the_plain_model(tables, case):
    for table in tables:
        if 'skip' in table[case]:
            pytest.skip(table[case]['skip'])
        assert 'error' not in table[case], table[case]['error']
        assert of_plain_names(table[case]['groups']) == tables[0]['plain']['groups']
        assert table[case]['shrunk'], 'the optimizer steps with other settings'
    elements = [table[case]['elements'] for table in tables]
    whole = tables[0]['plain']['elements']
    if 'fsdp' in case:  # the shards really are
        assert max(elements) < 0.6 * whole
        assert sum(elements) == whole
    else:
        assert elements == [whole] * PROCESSES


@pytest.mark.slow
def test_plain_table_is_what_it_should_be(tables):
    """So that the others are not compared with an empty one."""
    rows = {
        name: (lr / LR, decay)
        for lr, decay, names in tables[0]['plain']['groups']
        for name in names
    }
    for name, expected in {
        'backbone.stages.0.0.gamma': (0.5**6, 0),
        'backbone.stages.2.0.norm.weight': (0.5**5, 0),
        'backbone.stages.2.1.norm.weight': (0.5**4, DECAY / 2),
        'second.stages.3.0.grn.gamma': (0.5, 0),
        'second.stages.3.0.pwconv1.weight': (0.5, DECAY),
        'neck.level_embed': (1, DECAY),
        'neck.temperature': (1, 0),
        'head.norm.weight': (1, 0),
        'head.act.weight': (1, 0),
        'head.attention.in_proj_weight': (1, DECAY),
        'head.attention.in_proj_bias': (1, 0),
        'head.classes.bias': (2, 0),
    }.items():
        assert rows[name] == pytest.approx(expected), name
    assert 'backbone.downsample_layers.0.0.weight' not in rows  # frozen


@pytest.mark.slow
def test_parameters_that_fsdp_made_one_are_refused(tables):
    match = r'parameters into \S*_flat_param, but each .*use_orig_params=True'
    assert all(re.search(match, table['flat']) for table in tables), tables[0]['flat']
