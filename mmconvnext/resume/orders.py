# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What the processes of a run agree to do between two iterations: nothing, save, or stop."""

from __future__ import annotations

import time

import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size

from .signals import Signals

SAVE = 1  # any larger order is the number of the signal with which to stop


class StopValidation(Exception):
    """Leaves a validation; all processes raise it at the same image."""

    def __init__(self, order: int) -> None:
        super().__init__(order)
        self.order = order


class Orders:
    """Asks all processes after each iteration, through the CPU, so that no GPU waits.

    With several processes this is an all_reduce of one number, below a millisecond between
    processes of one machine.

    Args:
        signals: those of this process.
        minutes: after how many minutes without a checkpoint to save one; 0: never.
    """

    def __init__(self, signals: Signals, minutes: float) -> None:
        self.signals, self.seconds = signals, minutes * 60
        self.saved = time.monotonic()
        self.group = dist.new_group(backend='gloo') if get_world_size() > 1 else None

    def agree(self) -> int:
        """The largest order of all processes: 0, SAVE, or the number of a signal."""
        order = self.signals.caught
        if not order and self.seconds and get_rank() == 0:
            order = SAVE * (time.monotonic() - self.saved >= self.seconds)
        if self.group is None:
            return order
        shared = torch.tensor(order)
        dist.all_reduce(shared, dist.ReduceOp.MAX, self.group)
        return int(shared)

    def gather(self, own: object) -> list[object] | None:
        """The objects of all processes in the order of their ranks; None except on rank 0."""
        if self.group is None:
            return [own]
        found = [None] * get_world_size() if get_rank() == 0 else None
        dist.gather_object(own, found, dst=0, group=self.group)
        return found
