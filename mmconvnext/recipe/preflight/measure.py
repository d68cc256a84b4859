# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Time and memory of training steps, measured on this machine.

All learning rates are 0 meanwhile, so that the steps change no weight; the optimizer has its state.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch import nn

SECONDS = 60.0  # after which no further step is measured; our choice
CPU = 'this CPU'
BUSY = 1.5  # seconds for each second of processor time; our choice
NO_MEMORY = r"(?i)out of memory|can't allocate memory|not enough memory|could not allocate"
SPARED = 0.9  # share of the free memory that the steps may take, so that no other program is killed


class NoRoom(MemoryError):
    """The steps need more memory than is free."""


@dataclass(frozen=True)
class Measured:
    """What steps of training took: seconds, and bytes at the peak."""

    steps: int
    device: str
    loading: float  # of a batch, in this process
    step: float  # forward, backward and optimizer
    processor: float  # seconds of processor time in a step, of all threads
    memory: int  # of the GPU, or of the whole process on a CPU

    @property
    def is_busy(self) -> bool:
        """Whether the steps waited for other programs: a thread alone would have been faster."""
        return self.device == CPU and self.step > BUSY * self.processor

    def iteration(self, workers: int) -> float:
        """Seconds of an iteration, if ``workers`` processes load batches beside it."""
        able = min(workers, os.cpu_count() or 1)
        return max(self.step, self.loading / able) if able else self.step + self.loading


def measure_steps(
    model: nn.Module, wrapper: OptimWrapper, batches: Iterable, steps: int
) -> Measured:
    """Train one step to warm up, then at most ``steps``; at least one, however slow.

    Raises:
        NoRoom: the memory of this machine, or of its GPU, does not suffice.
    """
    device = next(model.parameters()).device
    loading, taken, processor, begin = [], [], [], time.perf_counter()
    batches = _endless(batches)
    model.train()
    wrapper.initialize_count_status(model, 0, 1)  # so that the first step updates
    with _at_rate_zero(wrapper), _within_memory(device):
        _forget_peak(device)
        for number in range(steps + 1):
            start = time.perf_counter()
            batch = next(batches)
            _tell_progress(number, steps)
            middle, used = time.perf_counter(), time.process_time()
            model.train_step(batch, optim_wrapper=wrapper)
            _finish(device)
            end = time.perf_counter()
            if number or end - begin > SECONDS:  # a slow first one counts
                loading.append(middle - start)
                taken.append(end - middle)
                processor.append(time.process_time() - used)
            if taken and end - begin > SECONDS:
                break
    medians = (median(values) for values in (loading, taken, processor))
    return Measured(len(taken), _device_name(device), *medians, _peak(device))


def _tell_progress(number: int, steps: int) -> None:
    """What models ask for, such as those that resize batches; as RuntimeInfoHook does in a run."""
    hub = MessageHub.get_current_instance()
    for key, value in dict(epoch=0, iter=number, max_epochs=1, max_iters=steps + 1).items():
        hub.update_info(key, value)


def _endless(batches: Iterable) -> Iterator:
    while True:
        yield from batches


def measure_validation(model: nn.Module, batches: Iterable) -> float:
    """Seconds of validating an image of the first batch, after one to warm up."""
    device = next(model.parameters()).device
    model.eval()
    times = []
    with torch.no_grad(), _within_memory(device):
        for batch in islice(batches, 3):
            start = time.perf_counter()
            samples = model.val_step(batch)
            _finish(device)
            times.append((time.perf_counter() - start) / max(1, len(samples)))
    return median(times[1:] or times) if times else 0.0


def resident() -> int:
    """The largest memory of this process so far, in bytes."""
    with suppress(OSError):
        found = re.search(r'VmHWM:\s*(\d+)', Path('/proc/self/status').read_text())
        if found:
            return int(found[1]) * 1024
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available() -> int | None:
    """Free memory of this machine in bytes; None where the system does not tell."""
    with suppress(OSError):
        found = re.search(r'MemAvailable:\s*(\d+)', Path('/proc/meminfo').read_text())
        if found:
            return int(found[1]) * 1024
    return None


@contextmanager
def _at_rate_zero(wrapper: OptimWrapper) -> Iterator[None]:
    groups = wrapper.optimizer.param_groups
    rates = [group['lr'] for group in groups]
    for group in groups:
        group['lr'] = 0.0
    try:
        yield
    finally:
        for group, rate in zip(groups, rates):
            group['lr'] = rate


@contextmanager
def _within_memory(device: torch.device) -> Iterator[None]:
    """Let an allocation beyond the free memory fail, rather than the system kill a process."""
    before, free = resource.getrlimit(resource.RLIMIT_DATA), available()
    if device.type == 'cpu' and free and sys.platform == 'linux':
        used = int(re.search(r'VmData:\s*(\d+)', Path('/proc/self/status').read_text())[1]) * 1024
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (used + int(SPARED * free), before[1]))
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or re.search(NO_MEMORY, str(error)):
            raise NoRoom(str(error).splitlines()[0]) from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _forget_peak(device: torch.device) -> None:
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')  # sets VmHWM to what is used now


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == 'cuda' else resident()


def _finish(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else CPU
