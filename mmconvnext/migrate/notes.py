# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a migration tells its user."""

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
        """Note what is not in the new config, and the reason or the way out."""
        self.lost.append(f'{what}: {why}')

    def name(self, line: str) -> None:
        """Note what is carried over as it is and deserves a look."""
        self.look.append(line)
