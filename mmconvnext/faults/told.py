# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is told about a step whose numbers are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from .repeat import Found

SHOWN, RANKS = 8, 3  # images and ranks in a message; our choice


@dataclass
class Report:
    """What one process saw.

    ``images`` are those of its iteration in which it begins, or of all if that is not known;
    ``losses`` says what was not finite in the run, ``found`` in the repetition.
    """

    rank: int
    images: list[str]
    losses: str
    found: Found

    @property
    def bad(self) -> bool:
        """Whether numbers of this process were not finite."""
        return bool(self.losses or self.found.lines())

    @property
    def place(self) -> tuple:
        """How early it is in the computation: layers such as SyncBN carry it to other processes."""
        found = self.found
        return not found.weights, not found.images, not found.layer, found.place, self.rank

    def text(self, processes: int) -> str:
        """All of it, a line each."""
        where = f'rank {self.rank} of {processes}, ' if processes > 1 else ''
        more = f' and {len(self.images) - SHOWN} more' if self.images[SHOWN:] else ''
        lines = [f'  {where}images: {", ".join(self.images[:SHOWN]) or "unknown"}{more}']
        if self.losses and self.losses != self.found.losses:
            lines.append(f'  loss: {self.losses}')
        return '\n'.join(lines + [f'  {line}' for line in self.found.lines()])


def told_reports(reports: list[Report]) -> tuple[str, int]:
    """What the processes saw, those first where it begins; and the rank of the first."""
    bad = sorted((r for r in reports if r.bad), key=lambda r: r.place) or reports[:1]
    lines = [report.text(len(reports)) for report in bad[:RANKS]]
    if bad[RANKS:]:
        lines.append(f'  and {len(bad) - RANKS} more ranks')
    return '\n'.join(lines), bad[0].rank


def told_files(batch: object) -> list[str]:
    """The images of a batch of mmdet or mmseg: number, file and id."""
    samples = batch.get('data_samples') if isinstance(batch, Mapping) else None
    found = []
    for index, sample in enumerate(samples if isinstance(samples, (list, tuple)) else (), 1):
        path, identity = getattr(sample, 'img_path', '?'), getattr(sample, 'img_id', None)
        found.append(f'{index}: {path}' + (f' (id {identity})' if identity is not None else ''))
    return found


def not_again(model: nn.Module) -> str:
    """What it means when all numbers are finite in the repetition."""
    on_gpu = any(p.is_cuda for p in model.parameters())
    what = (
        'the GPU, its memory, or kernels that add in another order each time'
        if on_gpu
        else ('the memory of this machine, or operators that add in another order each time')
    )
    return (
        'It did not come again: computed once more from the same weights, images and random '
        f'numbers, all was finite. Likely causes: {what}. Going on with --resume may be enough'
    )
