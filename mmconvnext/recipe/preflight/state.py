# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a model and its optimizer hold between two steps, by counting."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch
from torch import nn

SIDE = 64  # of the parameter on which an optimizer is tried; our choice


@dataclass(frozen=True)
class State:
    """Numbers of parameters, and bytes."""

    parameters: int
    trained: int
    weights: int  # with buffers
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer


def count_state(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> State:
    """Count the state of a model, and of its optimizer after the first step."""
    parameters = list(model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    tensors = [*parameters, *model.buffers()]
    gradients = sum(_bytes(p) for p in trained)
    per_byte = 0.0 if optimizer is None else _growth(optimizer)
    return State(
        parameters=sum(p.numel() for p in parameters),
        trained=sum(p.numel() for p in trained),
        weights=sum(map(_bytes, tensors)),
        gradients=gradients,
        optimizer=round(per_byte * gradients),
    )


def _growth(optimizer: torch.optim.Optimizer) -> float:
    """Bytes of state for each byte of parameters, from a step on a parameter of its own."""
    parameter = nn.Parameter(torch.zeros(SIDE, SIDE))
    parameter.grad = torch.zeros_like(parameter)
    kind = type(optimizer)
    taken = inspect.signature(kind).parameters
    settings = {key: value for key, value in optimizer.defaults.items() if key in taken}
    try:
        trial = kind([parameter], **settings)
        trial.step()
    except Exception:  # one that needs a closure, or other arguments: as Adam, the largest usual
        return 2.0
    held = trial.state.get(parameter, {}).values()
    return sum(_bytes(value) for value in held if torch.is_tensor(value)) / _bytes(parameter)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
