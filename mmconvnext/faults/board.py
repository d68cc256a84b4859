# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the workers of a loader tell the process that trains, in memory that they share."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from multiprocessing.sharedctypes import RawArray, RawValue

from torch.utils.data import get_worker_info

LONGEST = 4096  # bytes of a path, PATH_MAX of Linux


class _Slot(ctypes.Structure):
    _fields_ = [
        ('pid', ctypes.c_int),
        ('replaced', ctypes.c_uint),
        ('file', ctypes.c_char * LONGEST),
    ]


class Board:
    """One slot for each worker, and one for the process that trains, which may read by itself.

    Each process writes its own slot only, so none has to lock it, and one that is killed leaves the
    name of the file that it was reading.

    Args:
        workers: how many processes read.
    """

    def __init__(self, workers: int) -> None:
        self._slots = RawArray(_Slot, workers + 1)
        self.told = RawValue('b', 0)  # that the file system is away

    def reading(self, file: str) -> None:
        """Note what this process reads; '' for nothing."""
        slot = self._own()
        slot.pid, slot.file = os.getpid(), os.fsencode(file)[: LONGEST - 1]

    def replaced(self) -> None:
        """Count a sample that was replaced by another one."""
        self._own().replaced += 1

    @property
    def total(self) -> int:
        """How many samples all of them have replaced."""
        return sum(slot.replaced for slot in self._slots)

    def read_by(self, pids: Collection[int]) -> list[str]:
        """The files that these processes are reading, or were when they ended."""
        return [os.fsdecode(slot.file) for slot in self._slots if slot.pid in pids and slot.file]

    def _own(self) -> _Slot:
        worker = get_worker_info()
        return self._slots[0 if worker is None else worker.id + 1]
