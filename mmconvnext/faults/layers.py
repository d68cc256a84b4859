# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Looks at what goes into and out of the layers of a model, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

# Hooks inside of our blocks would turn their fast path off (models/fusion.py), and another path
# might compute other numbers; so a block is looked at as a whole.
WHOLE = ('ConvNeXtBlock',)


class Layers:
    """Hooks on the layers of a model while it is entered.

    ``place`` counts the layers up to the first whose output is not finite.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.begin()

    def begin(self) -> None:
        """Forget what was seen."""
        self._forward, self.place = '', 0
        # Layers in the order in which their gradients come, and whether all were finite.
        self._before: dict[str, bool] = {}
        self._after: dict[str, bool] = {}

    def __enter__(self) -> Layers:
        self._handles = []
        for name, layer in _layers(self.model, ''):
            self._handles += [
                layer.register_forward_pre_hook(self._enter(name), with_kwargs=True),
                layer.register_forward_hook(self._leave(name), with_kwargs=True),
            ]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def forward(self) -> str:
        """The first layer with an output that is not finite, in words; or ''."""
        return self._forward

    def backward(self) -> str:
        """The innermost layer that turns finite gradients into others first, in words; or ''.

        What a model computes between its layers is told by the layer before.
        """
        bad = [
            name for name, fine in self._before.items() if not fine and self._after.get(name, True)
        ]
        if not bad:
            name = next((name for name, fine in self._after.items() if not fine), '')
            what = 'the gradient of its output is the first that is not finite'
            return f'{self._named(name)}: {what}' if name else ''
        name = bad[0]
        inner = [other for other in bad if other.startswith(f'{name}.')]
        name = max(inner, key=len, default=name)
        return (
            f'{self._named(name)}: the gradient of its output is finite, that of its input is not'
        )

    def _named(self, name: str) -> str:
        return f'{name} ({type(self.model.get_submodule(name)).__name__})'

    def _enter(self, name: str):
        def hook(layer: nn.Module, args: tuple, options: dict) -> None:
            for tensor in _tensors((args, options)):
                if tensor.requires_grad:
                    tensor.register_hook(self._seen(self._before, name))

        return hook

    def _leave(self, name: str):
        def hook(layer: nn.Module, args: tuple, options: dict, output: object) -> None:
            if not self._forward:
                self.place += 1
            outputs = list(_tensors(output))
            for tensor in outputs:
                if tensor.requires_grad:
                    tensor.register_hook(self._seen(self._after, name))
            if self._forward or all(map(_finite, outputs)):
                return
            inputs = 'finite' if all(map(_finite, _tensors((args, options)))) else 'not finite'
            bad = next(tensor for tensor in outputs if not _finite(tensor))
            count = int((~torch.isfinite(bad)).sum())
            self._forward = (
                f'{name} ({type(layer).__name__}): {count} of {bad.numel()} values of its output '
                f'are NaN or inf, its input is {inputs}'
            )

        return hook

    def _seen(self, where: dict[str, bool], name: str):
        def hook(gradient: Tensor) -> None:
            where[name] = where.get(name, True) and _finite(gradient)

        return hook


def _layers(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        inner = f'{path}.{name}' if path else name
        if inner == 'data_preprocessor':  # images are looked at by themselves
            continue
        yield inner, child
        if type(child).__name__ not in WHOLE:
            yield from _layers(child, inner)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
