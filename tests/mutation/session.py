# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The results of the faults that were tried, in a file, so that a run can go on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Container
from pathlib import Path

COLUMNS = 'key, path, line, kind, outcome, by, seconds, difference'


class Session:
    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.lock = folder, threading.Lock()
        self.file = sqlite3.connect(folder / 'results.sqlite', check_same_thread=False)
        self.file.execute(f'create table if not exists results ({COLUMNS}, primary key (key))')

    def set(self, fault, outcome: str, by: str, seconds: float, difference: str) -> None:
        row = (fault.key, fault.path, fault.line, fault.kind, outcome, by, seconds, difference)
        with self.lock, self.file:
            self.file.execute(f'replace into results values ({",".join("?" * len(row))})', row)

    def done(self, again: bool, known: Container[tuple[str, str]] = ()) -> set[str]:
        """Keys of the faults that need no run.

        Args:
            again: whether missed faults are tried again.
            known: path and change of those that are not.
        """
        return {
            row[0]
            for row in self.rows().values()
            if not again or row[4] != 'missed' or (row[1], row[7].strip()) in known
        }

    def rows(self) -> dict[str, tuple]:
        return {row[0]: row for row in self.file.execute(f'select {COLUMNS} from results')}
