# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The one log line about a checkpoint: what was loaded, what was not, and why."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..checkpoint.formats import listed

# By name: shapes in the file and in the model; None if the file lacks the tensor.
Changes = Mapping[str, 'tuple | None']


@dataclass
class Summary:
    """What happened to the tensors of a model and of a checkpoint.

    Args:
        source: path, URL or short name of the checkpoint.
        loaded: number of the model's tensors that were loaded, of ``total``.
        faults: description of the tensors left out because of their values, or ''.
        resumed: ``meta`` of the checkpoint with its epoch and iteration, if a run is resumed.
        class_layers: tensors left at initialization because the number of classes differs.
        classes: numbers of classes of the model, and that of the file (0: unknown).
        missing: tensors left at initialization for any other reason; may repeat class_layers.
        unused: names in the file that the model does not have.
        skipped: modules whose ``init_cfg`` was not read.
    """

    source: str
    loaded: int
    total: int
    faults: str
    resumed: Mapping | None
    class_layers: Changes
    classes: tuple[list[int], int]
    missing: Changes
    unused: list[str]
    skipped: list[str]

    def __post_init__(self) -> None:
        self.missing = {k: v for k, v in self.missing.items() if k not in self.class_layers}

    def level(self) -> int:
        """WARNING if anything did not fit, apart from class layers."""
        return logging.WARNING if self.faults or self.missing or self.unused else logging.INFO

    def line(self) -> str:
        """The line, its parts separated by semicolons."""
        head = f'Loaded {self.loaded} of {self.total} tensors from {self.source}'
        return '; '.join([head, *self._parts()])

    def _parts(self) -> Iterable[str]:
        if self.faults:
            yield f'left out: {self.faults}'
        if self.resumed:
            yield f'resumed at epoch {self.resumed.get("epoch")}, iteration {self.resumed["iter"]}'
        if self.class_layers:
            ours, theirs = self.classes
            yield (
                f'left at initialization, as expected: {modules(self.class_layers)}, because the '
                f'model has {" and ".join(map(str, ours))} classes and the file '
                f'{theirs or "another number"}'
            )
        if self.missing:
            yield f'NOT STRICT (lenient_loading), left at initialization: {modules(self.missing)}'
        if self.unused:
            yield f'not used: {listed(self.unused)}'
        if self.skipped:
            skipped = listed(self.skipped)
            yield f'not read, because the file fills these modules: init_cfg of {skipped}'


def modules(tensors: Changes) -> str:
    """The modules of the tensors, with the sizes that differ: 'fc_cls (81 -> 3)'."""
    found: dict[str, str] = {}
    for name, shapes in tensors.items():
        pairs = [f'{a} -> {b}' for a, b in zip(*shapes or ((), ())) if a != b]
        if shapes and len(shapes[0]) != len(shapes[1]):
            pairs = [f'{shapes[0]} -> {shapes[1]}']
        module = re.sub(r'\.(weight|bias)$', '', name)
        found.setdefault(module, f'{module} ({", ".join(pairs)})' if pairs else module)
    return listed(found.values(), 10)
