# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Batches that know their place in a run.

With mmengine, the random numbers of an augmentation depend on the process that reads the image and
on what it read before. Here they depend on the place of the image in the run alone: on the seed,
the epoch and the number of the image in it. So a run can go on from any batch without reading
those before, with any number of workers, and N processes see the same images as one that makes
batches N times as large, with the samplers of mmengine. A sampler that draws from the global
generators gets states of its own there, which follow from the seed and the epoch.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.sharedctypes import RawValue

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from ..distributed.process import end_with_parent
from .randomness import kept, on_cpu, put_on_cpu, seed

Place = tuple[int, int, int]  # the run's seed, the epoch, the number of the sample in it
# The order of an epoch follows from (seed, epoch, 0, ORDER), which is the place of no sample.
ORDER = 1
# Transforms and samplers whose results depend on earlier samples, or with a generator of their own
# that they do not hold as an attribute.
WITH_MEMORY = ('CachedMosaic', 'CachedMixUp', 'Albu', 'CustomSampleSizeSampler')
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


class PlacedBatch(list):
    """Indices of a dataset; whoever iterates over them gets random generators seeded for each.

    That is how a DataLoader reads a batch, here and in its workers: dataset and pipeline need not
    know, and what they do with the index, such as reading another sample, is repeatable too.
    """

    def __init__(self, indices: Iterable, places: Iterable[Place]) -> None:
        super().__init__(indices)
        self.places = list(places)

    def __iter__(self) -> Iterator:
        with kept(gpu=False):  # the model in this process draws from the same generators
            for index, place in zip(list.__iter__(self), self.places):
                seed(*place)
                yield index

    def __reduce__(self) -> tuple:  # the default one would iterate
        return PlacedBatch, (self[:], self.places)


class PlacedBatches:
    """A batch sampler around that of a recipe, for all else the same.

    Set ``epoch`` and ``skip``, the number of batches to leave out, before each iteration.

    Args:
        batches: the batch sampler.
        seed: that of the run, 0 or more.
        rank, processes: of how many processes this is which; their samples are numbered in turn,
            as mmengine's samplers deal them out.
    """

    def __init__(self, batches: Iterable, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.batches, self.seed = batches, seed
        self.rank, self.processes = rank, processes
        self.epoch = self.skip = 0
        self.given = 0  # batches handed out in this pass through the data

    def __iter__(self) -> Iterator[PlacedBatch]:
        return self._after(self.epoch, self.skip)  # DataLoader asks twice if it has workers

    def _after(self, epoch: int, skip: int) -> Iterator[PlacedBatch]:
        self.given = 0
        with kept(gpu=False):
            seed(self.seed, epoch, 0, ORDER)
            batches = iter(self.batches)
            first = sum(len(batch) for batch in islice(batches, skip))
            own = on_cpu()
        while True:
            with kept(gpu=False):
                put_on_cpu(own)
                batch = next(batches, None)
                own = on_cpu()
            if batch is None:
                return
            numbers = range(first, first + len(batch))
            first += len(batch)
            self.given += 1
            yield PlacedBatch(
                batch, [(self.seed, epoch, n * self.processes + self.rank) for n in numbers]
            )

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> object:
        if name.startswith('__') or name == 'batches':  # asked by copy and pickle
            raise AttributeError(name)
        return getattr(self.batches, name)


def place_batches(loader: DataLoader, seed: int, rank: int, processes: int) -> PlacedBatches | None:
    """Let a loader take its batches from a PlacedBatches; None if it has no batch sampler."""
    if loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
        return None
    placed = PlacedBatches(loader.batch_sampler, seed, rank, processes)
    vars(loader)['batch_sampler'] = placed  # DataLoader refuses to set it
    return placed


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Tell the sampler the epoch, where mmengine's DistSamplerSeedHook looks for it."""
    for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(epoch)
            return


class CalmWorker:
    """Initializes a worker so that signals to all processes of a run leave it at work.

    Slurm, systemd and Ctrl-C signal them too. Without its workers the run could not finish the
    iteration; it ends them itself, also with SIGTERM, when it has set ``running`` to 0.

    If the process that trains is killed, so are its workers: they have inherited its connections,
    and the other processes would wait until the last of them is closed.

    Args:
        then: the worker's own initialization.
        running: shared with the process that trains.
    """

    def __init__(self, then: Callable[[int], None] | None, running: RawValue) -> None:
        self.then, self.running = then, running
        # Linux looks at the thread that starts a worker, and another one may end before the run.
        self.is_bound = threading.current_thread() is threading.main_thread()

    def __call__(self, worker: int) -> None:
        if self.is_bound:
            end_with_parent(signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._stop)
        if self.then is not None:
            self.then(worker)

    def _stop(self, number: int, frame: object) -> None:
        if not self.running.value:
            os._exit(0)  # as torch's own handler; any other status would be an error


def keep_workers(loader: DataLoader, running: RawValue) -> None:
    """Make the workers of a loader calm until ``running`` is 0."""
    loader.worker_init_fn = CalmWorker(loader.worker_init_fn, running)


def with_memory(loader: DataLoader) -> list[str]:
    """Names of the parts of a loader that resume cannot repeat exactly from the middle."""
    seen, found, queue = set(), [], [loader.dataset, loader.batch_sampler]
    while queue:
        part = queue.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        own = any(isinstance(value, GENERATORS) for value in getattr(part, '__dict__', {}).values())
        if own or type(part).__name__ in WITH_MEMORY:
            found.append(type(part).__name__)
        for key in ('dataset', 'datasets', 'pipeline', 'transforms', 'sampler', 'batches'):
            inner = getattr(part, key, None)
            queue += inner if isinstance(inner, (list, tuple)) else [inner]
    return sorted(set(found))
