# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How an operator of the namespace ``mmconvnext`` is declared.

The file of an operator holds its schema (:func:`define`), the shapes of its results for tracing
(:func:`fake`) and, if it can be made of other operators, that composition (:func:`composite`).
Implementations for one device are registered in `csrc/ops.cpp` and `cuda.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..compat import register_fake

LIBRARY = torch.library.Library('mmconvnext', 'DEF')
OPS = torch.ops.mmconvnext
DEFINED: list[str] = []  # names, as they are declared


def define(schema: str) -> None:
    """Declare an operator by its schema.

    No operator has a derivative of its own: calls that would need one raise a RuntimeError.
    """
    LIBRARY.define(schema)
    name = schema.partition('(')[0]
    DEFINED.append(name)
    _refuse_derivatives(name)


def fake(name: str) -> Callable[[Callable], Callable]:
    """Decorate the function that returns empty results of the right shapes and types."""
    return register_fake(f'mmconvnext::{name}')


def composite(name: str) -> Callable[[Callable], Callable]:
    """Decorate the function that computes the operator on devices without an implementation."""

    def register(function: Callable) -> Callable:
        LIBRARY.impl(name, function, 'CompositeExplicitAutograd')
        return function

    return register


def _refuse_derivatives(name: str) -> None:
    """Raise where autograd would treat the results as constants.

    A composition would be worse: autograd would see torch's operators in it, but not ours.
    """

    def call(*args):
        wanted = torch.is_grad_enabled() and any(getattr(x, 'requires_grad', 0) for x in args)
        if wanted or torch.autograd.forward_ad._current_level >= 0:
            raise RuntimeError(
                f'mmconvnext::{name} has no derivative of its own; call it under torch.no_grad(), '
                'or use mmconvnext.kernels.block.FusedBlock, which differentiates the whole block'
            )
        with torch._C._AutoDispatchBelowAutograd():
            return getattr(OPS, name)(*args)

    LIBRARY.impl(name, call, 'Autograd')
