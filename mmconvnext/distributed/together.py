# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checkpoints of what is divided among the processes: all give their parts, rank 0 saves.

mmengine's Runner saves on rank 0 alone, where its ZeroRedundancyOptimizer waits for the others for
ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer

from .sharded import FullyShardedModel
from .shards import shared


@contextmanager
def saved_together(
    model: nn.Module, wrapper: OptimWrapper | OptimWrapperDict, optimizer: bool = True
) -> Iterator[None]:
    """Gather what is divided; inside, rank 0's ``state_dict()`` returns it without the others.

    All processes must enter it. If nothing is divided, nothing happens.

    Args:
        optimizer: whether the optimizer's state will be saved too.
    """
    with ExitStack() as stack:
        for owner in (*_model(model), *(_optimizers(wrapper) if optimizer else ())):
            state = owner.state_dict()
            if is_main_process():
                owner.state_dict = _returns(state)
                stack.callback(delattr, owner, 'state_dict')
        yield


def _returns(state: dict):
    return lambda *_, **__: state


def _model(model: nn.Module) -> Iterator[nn.Module]:
    if isinstance(model, FullyShardedModel):
        yield model.module


def _optimizers(wrapper: OptimWrapper | OptimWrapperDict) -> Iterator[Optimizer]:
    parts = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    for part in parts:
        optimizer = part.optimizer
        parameters = (p for group in optimizer.param_groups for p in group['params'])
        if isinstance(optimizer, ZeroRedundancyOptimizer) or any(map(shared, parameters)):
            yield optimizer
