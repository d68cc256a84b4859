# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What was mended, left out and refused in a file: counts and the first places of each kind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

FIRST, LONGEST = 5, 200  # places that are named, and their characters; our choice


@dataclass
class Tally:
    """How often something happened, and where first."""

    count: int = 0
    first: list = field(default_factory=list)

    def add(self, where: object) -> None:
        self.count += 1
        if len(self.first) < FIRST:
            self.first.append(where)

    def __str__(self) -> str:
        named = ', '.join(str(where)[:LONGEST] for where in self.first)
        return named + ', ...' * (self.count > len(self.first))


@dataclass
class Refusal:
    """Why a run must not start; ``check`` is the name of the setting that lets it pass."""

    check: str
    text: str


@dataclass
class Ledger:
    """Everything that was noticed in one file, by kind; a kind is the text that describes it."""

    mended: dict[str, Tally] = field(default_factory=dict)
    left_out: dict[str, Tally] = field(default_factory=dict)
    noted: dict[str, Tally] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def mend(self, kind: str, where: object) -> None:
        """Count something that was put right."""
        self.mended.setdefault(kind, Tally()).add(where)

    def leave_out(self, kind: str, where: object) -> None:
        """Count an object or image that no longer is in the file, or only as a region to ignore."""
        self.left_out.setdefault(kind, Tally()).add(where)

    def note(self, kind: str, where: object) -> None:
        """Count what stays as it is and is worth a warning."""
        self.noted.setdefault(kind, Tally()).add(where)

    def refuse(self, check: str, text: str) -> None:
        """Say why a run with this file would be wrong."""
        self.refused.append(Refusal(check, text))

    def causes(self, but: str = '') -> str:
        """All losses in one line, as '3 objects outside their image (7, 8, 9)', but for a kind."""
        lost = {kind: tally for kind, tally in self.left_out.items() if kind != but}
        return '; '.join(f'{tally.count} {kind} ({tally})' for kind, tally in lost.items())

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict) -> Ledger:
        tallies = {
            name: {kind: Tally(**tally) for kind, tally in content[name].items()}
            for name in ('mended', 'left_out', 'noted')
        }
        return cls(**tallies, refused=[Refusal(**refusal) for refusal in content['refused']])
