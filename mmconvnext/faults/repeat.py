# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Computes batches again and looks where the first number that is not finite comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ..distributed.shards import own_part
from ..resume.randomness import State, kept, restore
from .layers import Layers

SHOWN = 3  # names of parameters in a message; our choice


@dataclass
class Turn:
    """An iteration that a step of the optimizer sums up.

    ``batch`` is what the loader gave; ``randomness`` are the states of the random generators before
    the forward pass; ``losses`` are filled in afterwards.
    """

    batch: object
    randomness: State
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether a loss is not finite."""
        return not all(map(math.isfinite, self.losses.values()))


@dataclass
class Found:
    """Where numbers are not finite, in words; '' where they are. In the order of computation."""

    weights: str = ''  # before the forward pass
    images: str = ''
    layer: str = ''  # in the forward pass
    losses: str = ''
    backward: str = ''  # the layer in the backward pass
    gradients: str = ''
    error: str = ''  # the repetition failed
    turn: int | None = None  # the iteration in which it begins, if it does not before
    place: int = 0  # which layer in the order of computation

    def lines(self) -> list[str]:
        """What is not finite, a line each."""
        rows = (
            ('weights', self.weights),
            ('image', self.images),
            ('first layer', self.layer),
            ('loss', self.losses),
            ('backward pass', self.backward),
            ('gradient of', self.gradients),
            ('the repetition fails', self.error),
        )
        return [f'{name}: {text}' for name, text in rows if text]


def repeat(
    model: nn.Module,
    wrapper: OptimWrapper,
    turns: Iterable[Turn],
    buffers: Mapping[str, Tensor],
    scale: float = 1.0,
) -> Found:
    """Compute batches again, from the same random numbers, until a number is not finite.

    All are computed in any case, because layers such as SyncBN wait for the other processes.
    Weights, gradients, buffers and random generators are left as they were.

    Args:
        model: not wrapped.
        wrapper: of the optimizer, for its context (mixed precision).
        turns: the iterations.
        buffers: those of the model that a forward pass changes, by name, as they were before.
        scale: the loss is multiplied by it, as a GradScaler does.
    """
    found = Found()
    parameters = list(model.parameters())
    before = [p.grad for p in parameters]
    own = copies(model)
    was_training = model.training
    model.train()
    with ExitStack() as stack:
        stack.enter_context(kept())
        layers = stack.enter_context(Layers(model))
        try:
            put(model, buffers)
            found.weights = weights = bad_weights(model)
            for index, turn in enumerate(turns):
                for p in parameters:
                    p.grad = None
                layers.begin()
                new = _repeat(model, wrapper, turn, scale, layers)
                if found.lines() == Found(weights=weights).lines():
                    found = new
                    found.weights, found.turn = weights, index if new.lines() else None
        except Exception as error:  # whatever a model raises when its numbers are not finite
            found.layer = found.layer or layers.forward()
            found.error = ' '.join(f'{type(error).__name__}: {error}'.split())[:300]
        finally:
            for p, grad in zip(parameters, before):
                p.grad = grad
            put(model, own)
            model.train(was_training)
    return found


def _repeat(
    model: nn.Module, wrapper: OptimWrapper, turn: Turn, scale: float, layers: Layers
) -> Found:
    restore(turn.randomness)
    found = Found()
    with wrapper.optim_context(model):
        data = model.data_preprocessor(turn.batch, True)
        found.images = _bad_images(data)
        losses = model._run_forward(data, mode='loss')
    loss, log = type(model).parse_losses(model, losses)
    found.layer, found.place = layers.forward(), layers.place
    values = {name: float(value.detach()) for name, value in log.items() if 'loss' in name}
    found.losses = told_losses(values)
    (loss * scale).backward()
    found.backward = '' if found.losses else layers.backward()
    named = model.named_parameters()
    # A norm that overflows is bad too, as for the gate.
    bad = [n for n, p in named if p.grad is not None and not finite(p.grad.float().norm())]
    if bad and not found.losses:
        more = f' and {len(bad) - SHOWN} more' if bad[SHOWN:] else ''
        found.gradients = ', '.join(bad[:SHOWN]) + more
    return found


def told_losses(values: Mapping[str, float]) -> str:
    """The losses that are not finite, without the sum if a part of it is named."""
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if len(bad) > 1:
        bad.pop('loss', None)
    return ', '.join(f'{name} is {value}' for name, value in bad.items())


def finite(tensor: Tensor) -> bool:
    """Whether all values are; True for whole numbers."""
    return bool(torch.isfinite(tensor).all())


def copies(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the buffers by name: a forward pass changes some, such as those of batch norm."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@torch.no_grad()
def put(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Set buffers of a model."""
    for name, own in model.named_buffers():
        if name in buffers:
            own.copy_(buffers[name])


def bad_weights(model: nn.Module) -> str:
    """The first weight or buffer that is not finite, in words; of shards those of this rank."""
    named = [*model.named_parameters(), *model.named_buffers()]
    parts = ((name, own_part(tensor)) for name, tensor in named)
    bad = [(name, part) for name, part in parts if not finite(part)]
    if not bad:
        return ''
    name, tensor = bad[0]
    more = f', and {len(bad) - 1} more' if bad[1:] else ''
    return f'{name} ({counted(tensor)}){more}'


def _bad_images(data: object) -> str:
    images = data.get('inputs') if isinstance(data, Mapping) else None
    if not isinstance(images, (Tensor, list, tuple)):
        return ''
    bad = [
        f'number {index} of the batch ({counted(image)})'
        for index, image in enumerate(images, 1)
        if isinstance(image, Tensor) and not finite(image)
    ]
    return ', '.join(bad)


def counted(tensor: Tensor) -> str:
    """How many values are not finite, and which."""
    nan, inf = int(torch.isnan(tensor).sum()), int(torch.isinf(tensor).sum())
    kinds = [f'{count} {name}' for count, name in ((nan, 'NaN'), (inf, 'inf')) if count]
    return f'{" and ".join(kinds)} of {tensor.numel()} values'
