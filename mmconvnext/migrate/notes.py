# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The notes of a migration, for the report."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Notes:
    """Lines for the report: what changed, what was lost, what to look at."""

    changed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    look: list[str] = field(default_factory=list)

    def change(self, line: str) -> None:
        """Note a change that means the same."""
        self.changed.append(line)

    def lose(self, what: str, why: str) -> None:
        """Note what the new config does not have, and why or how to get it back."""
        self.lost.append(f'{what}: {why}')

    def name(self, line: str) -> None:
        """Note what was kept unchanged and should be checked by the user."""
        self.look.append(line)
