# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ids by which objects refer to images and categories: are they those of the lists?"""

from __future__ import annotations

from collections.abc import Iterable

from ..ledger import Ledger
from ..values import key

CHECK = 'references'  # name of the refusal


class References:
    """The ids in a field of objects.

    Args:
        field: 'image_id' or 'category_id'.
        entries: the images, or the ids of the categories, by the key of their listed id.
    """

    def __init__(self, field: str, entries: dict):
        self.field, self.entries = field, entries
        self.used: set[int | str | None] = set()

    def find(self, entry: dict) -> object:
        """What an object refers to; None if it is not listed."""
        k = key(entry.get(self.field))
        self.used.add(k)
        return self.entries.get(k)

    def named(self, entry: dict, where: object) -> str:
        """An object and the id that is not listed."""
        return f'{where}: {entry.get(self.field)!r}'

    def judge(self, ledger: Ledger) -> None:
        """Refuse ids that are one too low or too high, so that they name the neighbour."""
        step = self._step()
        if step:
            what = 'images' if self.field == 'image_id' else 'categories'
            high = 'low' if step > 0 else 'high'
            ledger.refuse(
                CHECK,
                f'"{self.field}" of all objects seems to be one too {high}: objects refer to '
                f'{_range(self.used)}, the {what} have the ids {_range(self.entries)}, so objects '
                f'would be taken for those of the next one; add {step} to each "{self.field}"',
            )

    def _step(self) -> int:
        """What makes all ids listed ones, if only a part of them is: 1 or -1; else 0."""
        listed = set(self.entries)
        if self.used <= listed or not self.used & listed or {*map(type, self.used)} != {int}:
            return 0
        return next((step for step in (1, -1) if {i + step for i in self.used} <= listed), 0)


def _range(ids: Iterable) -> str:
    whole = [i for i in ids if isinstance(i, int)]  # names among the listed ids have no order
    return f'{min(whole)} to {max(whole)}'
