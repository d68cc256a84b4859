# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Signals that end a run: noted, so that the run ends after an iteration and not inside of one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mmengine.dist import get_world_size

from ..recipe.ranks import rank

# Slurm and clouds send SIGTERM; SIGUSR1 is what `sbatch --signal=USR1@300` sends before the end.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopWaiting(BaseException):
    """Leaves a wait for data; no transform takes it for an error of its own."""


class Signals:
    """Notes the first of the signals while it is entered; ``caught`` is its number, else 0.

    A second Ctrl-C (SIGINT) ends the run at once. An error after a signal gets the number as its
    ``signal``, so that nobody waits for a signal that has come. In another thread than the main
    one nothing is noted, because Python allows no handlers there.
    """

    def __init__(self) -> None:
        self.caught, self._waits = 0, False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        self.caught, self._process = 0, os.getpid()
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # not set from Python, so it cannot be put back
                signal.signal(number, handler)
        self._before = {}
        if error is not None and self.caught:
            error.signal = self.caught

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While data are waited for, a signal raises StopWaiting, also one that came before.

        With several processes it does not: the others may be in the next iteration.
        """
        self._waits = get_world_size() == 1
        try:
            if self._waits and self.caught:
                raise StopWaiting
            yield
        finally:
            self._waits = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a child that was forked inherits the handler
            return
        if number == self.caught == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.caught:
            self.caught = number
            again = '; press Ctrl-C again to stop at once' if number == signal.SIGINT else ''
            name = signal.Signals(number).name
            if rank():  # all processes get it, and one says so
                return
            # Not a logger: the signal may have come while it was writing.
            when = 'now' if self._waits else 'after this iteration'
            os.write(2, f'\n{name}: saving a checkpoint {when}{again}\n'.encode())
        if self._waits:
            raise StopWaiting
