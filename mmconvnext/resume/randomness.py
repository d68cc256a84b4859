# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The global random generators of a process: Python's, numpy's, torch's and that of the GPU."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

State = dict[str, object]


def take() -> State:
    """The states of all generators, in types that a checkpoint may hold (weights_only=True)."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return dict(
        python=(version, torch.tensor(words), gauss),
        numpy=(name, torch.from_numpy(keys.astype(np.int64)), *map(float, rest)),
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    )


def restore(state: State) -> None:
    """Set the generators to states of :func:`take`; that of a GPU if there is one here."""
    version, words, gauss = state['python']
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, position, has_gauss, cached = state['numpy']
    keys = keys.cpu().numpy().astype(np.uint32)
    np.random.set_state((name, keys, int(position), int(has_gauss), cached))
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def kept(gpu: bool = True) -> Iterator[None]:
    """Put the generators back afterwards, whatever was drawn inside.

    Args:
        gpu: also that of the GPU; workers that load data have none.
    """
    gpu = gpu and torch.cuda.is_available()
    states = on_cpu()
    on_gpu = torch.cuda.get_rng_state() if gpu else None
    try:
        yield
    finally:
        put_on_cpu(states)
        if gpu:
            torch.cuda.set_rng_state(on_gpu)


def on_cpu() -> tuple:
    """The states of the generators of the CPU, for :func:`put_on_cpu`: faster than :func:`take`."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def put_on_cpu(states: tuple) -> None:
    """Set the generators of the CPU."""
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def seed(*numbers: int) -> None:
    """Seed the generators of the CPU with numbers of 0 or more; each list gives other streams."""
    for_python, for_numpy, for_torch = np.random.SeedSequence(numbers).generate_state(3).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy)
    torch.default_generator.manual_seed(for_torch)  # torch.manual_seed would seed the GPUs too
