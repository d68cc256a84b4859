# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is read, and with which random numbers, depends on the place in the run alone."""

import copy
import os
import pickle
import random
import signal
import sys
import threading
import time
from multiprocessing.sharedctypes import RawValue
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from mmconvnext.resume.batches import (
    CalmWorker,
    PlacedBatch,
    PlacedBatches,
    keep_workers,
    place_batches,
    set_epoch,
    with_memory,
)
from mmconvnext.resume.randomness import on_cpu


class Drawing(Dataset):
    """Each sample is its index and a number of each generator."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), float(torch.rand(()))


def loader(workers=0, epoch=0, skip=0, **options) -> DataLoader:
    sampler = DefaultSampler(Drawing(), seed=5)
    built = DataLoader(
        Drawing(), 2, sampler=sampler, num_workers=workers, collate_fn=list, **options
    )
    placed = place_batches(built, seed=9, rank=0, processes=1)
    set_epoch(built, epoch)
    placed.epoch, placed.skip = epoch, skip
    return built


def test_samples_depend_on_their_place_alone():
    whole = list(loader())
    random.random(), np.random.rand(), torch.rand(3)
    assert list(loader()) == whole and len(loader()) == len(whole) == 4
    assert list(loader(skip=1)) == whole[1:] and list(loader(skip=4)) == []
    other = list(loader(epoch=1))
    assert {row[1] for batch in other for row in batch}.isdisjoint(
        row[1] for batch in whole for row in batch
    )


@pytest.mark.slow
@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_workers_read_what_the_process_itself_would(context):
    whole = list(loader())
    assert list(loader(2, multiprocessing_context=context)) == whole
    kept = loader(1, skip=1, multiprocessing_context=context, persistent_workers=True)
    keep_workers(kept, running := RawValue('b', 1))
    assert list(kept) == whole[1:]
    kept.batch_sampler.skip = 0
    assert list(kept) == whole
    for worker in kept._iterator._workers:
        os.kill(worker.pid, signal.SIGTERM)
        os.kill(worker.pid, signal.SIGUSR1)
        os.kill(worker.pid, signal.SIGINT)
    assert list(kept) == whole
    running.value = 0
    kept._iterator._shutdown_workers()


def test_reading_moves_no_random_number_of_this_process():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    batches = iter(DataLoader(Drawing(), 2, collate_fn=list, generator=torch.Generator()).dataset)
    batch = PlacedBatch([3, 4], [(1, 2, 3), (1, 2, 4)])
    first = next(reading := iter(batch))
    random.random()
    del reading  # as if a transform had raised
    assert first == 3
    assert [Drawing()[i] for i in batch] == [Drawing()[i] for i in batch]
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert before == after and batches


def test_a_batch_travels_to_a_worker():
    batch = PlacedBatch([3, 4], [(1, 2, 3), (1, 2, 4)])
    state = random.getstate()
    for other in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        assert type(other) is PlacedBatch and other[:] == [3, 4] and other.places == batch.places
    assert random.getstate() == state
    assert len(batch) == 2 and batch[1] == 4


def test_two_processes_see_the_samples_of_one():
    def samples(rank, processes, size):
        sampler = InfiniteSampler(Drawing(), seed=5)
        sampler.rank, sampler.world_size = rank, processes
        batches = iter(PlacedBatches(BatchSampler(sampler, size, False), 9, rank, processes))
        return [
            (index, place)
            for batch in (next(batches), next(batches))
            for index, place in zip(batch[:], batch.places)
        ]

    one = samples(0, 1, 4)
    assert sorted(samples(0, 2, 2) + samples(1, 2, 2)) == sorted(one)
    assert len({place for _, place in one}) == len(one) == 8


class OfThisProcess(list):
    """Samplers as users write them: the order comes from the global generators, batch by batch."""

    def __iter__(self):
        while True:
            drawn = float(torch.rand(())), np.random.rand(), random.random()
            yield [int(value * 1e6) for value in drawn]


@pytest.mark.parametrize('skip', [0, 2])
def test_a_sampler_that_draws_from_the_global_generators_is_repeated(skip):
    def orders(**place):
        placed = PlacedBatches(OfThisProcess(), 9)
        vars(placed).update(place)
        before, found, batches = on_cpu(), [], iter(placed)
        for _ in range(4):
            found.append(next(batches)[:])
            assert repr(on_cpu()) == repr(before)
            torch.rand(1), np.random.rand(), random.random()  # the model draws between batches
            before = on_cpu()
        return found

    whole = orders()
    assert orders(skip=skip)[: 4 - skip] == whole[skip:]
    assert len({number for batch in whole + orders(epoch=1) for number in batch}) == 24


def test_all_else_is_the_batch_sampler_of_the_recipe():
    sampler = DefaultSampler(Drawing(), seed=5)
    placed = PlacedBatches(BatchSampler(sampler, 3, True), 0)
    assert placed.sampler is sampler and placed.batch_size == 3 and placed.drop_last
    assert len(placed) == 2 and not hasattr(placed, 'set_epoch')
    assert copy.copy(placed).sampler is sampler
    built = loader()
    set_epoch(built, 4)
    assert built.sampler.epoch == 4
    by_batch = DataLoader(Drawing(), batch_sampler=BatchSampler(sampler, 3, True))
    set_epoch(by_batch, 6)
    assert sampler.epoch == 6


def test_loaders_without_batches_of_indices_are_left_alone():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(4))

    for built in (DataLoader(Drawing(), batch_size=None), DataLoader(Stream(), 2)):
        before = built.batch_sampler
        assert place_batches(built, 0, 0, 1) is None and built.batch_sampler is before


def test_a_calm_worker_ends_when_the_run_has_ended(monkeypatch):
    handlers, seen = {}, []
    monkeypatch.setattr(signal, 'signal', handlers.__setitem__)
    running = RawValue('b', 1)
    CalmWorker(seen.append, running)(3)
    assert seen == [3]
    assert handlers[signal.SIGINT] == handlers[signal.SIGUSR1] == signal.SIG_IGN
    ends = []
    monkeypatch.setattr('os._exit', ends.append)
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert ends == []
    running.value = 0
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert ends == [0]
    CalmWorker(None, running)(0)


def _read_and_die(rank: int, folder: str) -> None:
    built = loader(2, persistent_workers=True, multiprocessing_context='fork')
    keep_workers(built, RawValue('b', 1))
    batches = iter(built)
    next(batches), next(batches)  # one of each
    Path(folder, 'pids').write_text(' '.join(str(w.pid) for w in built._iterator._workers))
    os.kill(os.getpid(), signal.SIGKILL)


def _runs(pid: str) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells a process of this')
def test_workers_die_with_the_process_that_trains(tmp_path):
    """They hold its connections, for which the other processes of a run would wait."""
    (done,) = processes.call(_read_and_die, str(tmp_path))
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = (tmp_path / 'pids').read_text().split()
    for _ in range(20):  # two seconds; by themselves they take five or more
        alive = [pid for pid in pids if _runs(pid)]
        if not alive:
            break
        time.sleep(0.1)
    assert len(pids) == 2 and not alive


def test_in_another_thread_they_are_not_bound_to_it():
    found = []
    thread = threading.Thread(target=lambda: found.append(CalmWorker(None, RawValue('b', 1))))
    thread.start()
    thread.join()
    assert not found[0].is_bound and CalmWorker(None, RawValue('b', 1)).is_bound


def test_parts_that_remember_are_found():
    class CachedMosaic:
        pass

    class Compose:
        transforms = [int, CachedMosaic()]

    class Data(Drawing):
        pipeline = Compose()

    class Around(Drawing):
        dataset = Data()

    assert with_memory(loader()) == []
    assert with_memory(DataLoader(Around(), 2)) == ['CachedMosaic']


@pytest.mark.parametrize(
    'generator',
    [random.Random(1), np.random.RandomState(1), np.random.default_rng(1), torch.Generator()],
    ids=lambda one: type(one).__name__,
)
def test_generators_that_a_part_holds_are_told(generator):
    sampler = DefaultSampler(Drawing(), seed=5)
    built = DataLoader(Drawing(), 2, sampler=sampler)
    sampler.own = generator
    assert with_memory(built) == ['DefaultSampler']
