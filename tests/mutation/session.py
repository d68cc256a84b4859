# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The results of the faults that were tried, in a file, so that a run can go on."""

from __future__ import annotations

import sqlite3
import threading
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

    def done(self, again: bool) -> set[str]:
        """Keys of the faults that need no run."""
        wanted = "where outcome != 'missed'" if again else ''
        return {key for (key,) in self.file.execute(f'select key from results {wanted}')}

    def rows(self) -> dict[str, tuple]:
        return {row[0]: row for row in self.file.execute(f'select {COLUMNS} from results')}
