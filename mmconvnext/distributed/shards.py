# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Tensors divided among processes (DTensor), and an optimizer's state of such tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


def shared(value: object) -> bool:
    """Whether it is a tensor of which this process has a shard. Needs no recent torch."""
    return isinstance(value, Tensor) and hasattr(value, 'full_tensor')


def share(value: Tensor, like: Tensor) -> Tensor:
    """A tensor of rank 0, divided among the processes as ``like``; all must call it."""
    from torch.distributed.tensor import distribute_tensor

    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements)


def own_part(tensor: Tensor) -> Tensor:
    """The shard of this process, or all of a tensor that is not divided."""
    tensor = tensor.detach()
    return tensor.to_local() if shared(tensor) else tensor


def as_gradient(part: Tensor, parameter: Tensor) -> Tensor:
    """A gradient of ``parameter`` from what :func:`own_part` returned."""
    if not shared(parameter):
        return part.to(parameter)
    like = parameter.detach()
    gradient = like.clone()
    gradient.to_local().copy_(part)
    return gradient


def whole_state(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer of shared parameters save a whole state, and load one.

    It may have loaded one before. All processes must save and load together; of a saved state only
    rank 0 gets the tensors.
    """
    optimizer.register_state_dict_post_hook(_gather)
    optimizer.register_load_state_dict_post_hook(_divide)
    _divide(optimizer)


def _gather(optimizer: torch.optim.Optimizer, saved: dict) -> dict:
    """The saved state with whole tensors on the CPU; without tensors except on rank 0."""
    main, states = dist.get_rank() == 0, {}
    for index, state in saved['state'].items():
        states[index] = {}
        for name, value in state.items():
            if shared(value):
                value = value.detach().full_tensor()  # on all ranks, one at a time
                value = value.cpu() if main else None
            states[index][name] = value
    # Loading what another rank got fails, instead of beginning anew.
    rest = {name: value for name, value in saved.items() if name != 'state'}
    return {'state': states, **rest} if main else rest


def _divide(optimizer: torch.optim.Optimizer) -> None:
    """Divide the whole tensors of a state that was loaded."""
    for parameter, state in optimizer.state.items():
        if not (shared(parameter) and isinstance(state, Mapping)):
            continue
        for name, value in state.items():
            if isinstance(value, Tensor) and not shared(value) and value.shape == parameter.shape:
                state[name] = share(value, parameter)
