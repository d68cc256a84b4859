# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What ranks do in the tests of divided models: a tiny model, trained and saved in four ways."""

import os

import torch
import torch.distributed as dist
from torch import nn

ADAMW = dict(lr=1e-2, weight_decay=0.05, betas=(0.9, 0.99))
DIVIDED = dict(type='ZeroRedundancyOptimizer', optimizer_type='AdamW', **ADAMW)
OPTIMIZERS = dict(ddp=dict(type='AdamW', **ADAMW), zero=DIVIDED)
STEPS = 6
KINDS = ('ddp', 'zero', 'fsdp')


def build(seed: int = 0) -> nn.Module:
    """A backbone of [1, 1, 2, 1] blocks with a head, as a model of mmengine."""
    from mmengine.model import BaseModel

    from mmconvnext.models import ConvNeXt

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            arch = dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 40])
            self.backbone = ConvNeXt(arch=arch, layer_scale_init_value=0.5)
            self.head = nn.Conv2d(40, 3, 1)  # 3 rows: one process gets two of them
            self.frozen = nn.Linear(5, 4)
            self.frozen.requires_grad_(False)

        def forward(self, inputs, data_samples=None, mode='tensor'):
            maps = self.backbone(inputs)
            score = self.head(maps[-1])
            if mode == 'predict':
                return [score]
            return dict(loss=score.square().mean() + sum(m.mean() for m in maps[:-1]))

    torch.manual_seed(seed)
    return Model()


def images(step: int) -> torch.Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(step))


def wrap(model: nn.Module, kind: str) -> nn.Module:
    from mmengine.model import MMDistributedDataParallel

    from mmconvnext.distributed.sharded import FullyShardedModel

    if kind == 'one':
        return model
    return FullyShardedModel(model, 1000) if kind == 'fsdp' else MMDistributedDataParallel(model)


def optimize(model: nn.Module, kind: str, **options):
    from mmconvnext.optim import LayerDecayOptimWrapperConstructor

    optimizer = dict(OPTIMIZERS.get(kind, OPTIMIZERS['ddp']))
    wrapper = dict(optimizer=optimizer, clip_grad=dict(max_norm=0.5), **options)
    return LayerDecayOptimWrapperConstructor(wrapper, dict(decay_rate=0.7))(model)


def train(model: nn.Module, wrapper, steps, share: slice, accumulate: int = 1) -> list[float]:
    """Train with a falling learning rate; returns the norms of the gradients."""
    from mmengine.optim import LinearLR

    scheduler = LinearLR(wrapper, start_factor=1.0, end_factor=0.5, end=STEPS)
    for _ in range(steps.start):
        scheduler.step()
    norms = []
    model.saves_together = True
    model.train()
    for step in steps:
        model.train_step(dict(inputs=images(step)[share]), wrapper)
        if (step + 1) % accumulate == 0:
            norms.append(float(wrapper.message_hub.get_scalar('train/grad_norm').current()))
        scheduler.step()
    return norms


def bytes_of(optimizer) -> int:
    """Bytes of state that this process holds."""
    states = [*getattr(optimizer, 'optim', optimizer).state.values()]
    tensors = [value for state in states if state for value in state.values()]
    own = [t.to_local() if hasattr(t, 'to_local') else t for t in tensors]
    return sum(t.numel() * t.element_size() for t in own)


def meet() -> slice:
    """Join the others; returns this process's share of four images."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo')
    rank, count = dist.get_rank(), dist.get_world_size()
    return slice(rank * 4 // count, (rank + 1) * 4 // count)


def equal(rank: int, out: str, kinds: tuple) -> None:
    """Train each kind, also with accumulation, and save what it becomes."""
    share = meet()
    for kind in kinds:
        for accumulate in (1, 2):
            model = wrap(build(seed=0 if kind != 'fsdp' else rank), kind)
            wrapper = optimize(model, kind, accumulative_counts=accumulate)
            groups = [
                {k: v for k, v in g.items() if k != 'params'} | dict(tensors=len(g['params']))
                for g in wrapper.optimizer.param_groups
            ]
            norms = train(model, wrapper, range(STEPS), share, accumulate)
            inner = getattr(model, 'module', model)
            saved = dict(
                groups=groups,
                norms=norms,
                held=bytes_of(wrapper.optimizer),
                weights=inner.state_dict(),
                optimizer=wrapper.state_dict(),
            )
            torch.save(saved, f'{out}/{kind}_{accumulate}_{rank}_of_{os.environ["WORLD_SIZE"]}.pt')
    dist.barrier()
    dist.destroy_process_group()
