# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""One line that shows how far the work is, its rate and the time left."""

from __future__ import annotations

import sys
import time

EVERY = 15.0  # seconds between lines of a log, where a line cannot be overwritten; our choice
REFRESH = 0.2  # seconds between the states of the line of a terminal; our choice


class Progress:
    """Shown on stderr: a terminal's line is overwritten, a log gets a new one now and then.

    Args:
        unit: what is counted, in the plural.
        total: how many there are; None if nobody knows.
        done: how many were finished before this start.
    """

    def __init__(self, unit: str, total: int | None, done: int = 0) -> None:
        self.unit, self.total, self.done = unit, total, done
        self.before, self.bad = done, 0
        self.start = self.told = time.monotonic()
        self.live = sys.stderr.isatty()
        self.length = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def step(self, bad: bool = False) -> None:
        """One more is finished."""
        self.done, self.bad = self.done + 1, self.bad + bad
        now = time.monotonic()
        if now - self.told >= (REFRESH if self.live else EVERY):
            self.told = now
            self._show(self.line())

    def line(self) -> str:
        """Such as '34 of 120 images, 2.1 images/s, 0:41 left, 1 bad'."""
        rate = (self.done - self.before) / max(self.seconds, 1e-9)
        parts = [f'{self.done}{f" of {self.total}" if self.total else ""} {self.unit}']
        parts += [f'{rate:.{1 if rate < 100 else 0}f} {self.unit}/s']
        if self.total and rate:
            parts += [f'{duration((self.total - self.done) / rate)} left']
        parts += [f'{self.bad} bad'] * bool(self.bad)
        return ', '.join(parts)

    def note(self, text: str) -> None:
        """Say something without disturbing the line."""
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        self._clear()

    def _show(self, text: str) -> None:
        if self.live:
            sys.stderr.write('\r' + text.ljust(self.length))
            self.length = len(text)
        else:
            sys.stderr.write(text + '\n')
        sys.stderr.flush()

    def _clear(self) -> None:
        if self.live and self.length:
            sys.stderr.write('\r' + ' ' * self.length + '\r')
            self.length = 0


def duration(seconds: float) -> str:
    """Such as '0:41', '12:05' or '3:10:00'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
