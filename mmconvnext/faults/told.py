# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What is told about a step whose numbers are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from .repeat import Found

SHOWN = 8  # images of a step; our choice


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

    def text(self, processes: int) -> str:
        """All of it, a line each."""
        where = f'rank {self.rank} of {processes}, ' if processes > 1 else ''
        more = f' and {len(self.images) - SHOWN} more' if self.images[SHOWN:] else ''
        lines = [f'  {where}images: {", ".join(self.images[:SHOWN]) or "unknown"}{more}']
        if self.losses and self.losses != self.found.losses:
            lines.append(f'  loss: {self.losses}')
        return '\n'.join(lines + [f'  {line}' for line in self.found.lines()])


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
