# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The last look before training: samples, room on the disk, and once more the table of the data."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..recipe.checks.finding import Finding, settle
from ..recipe.data_table import FILE, Split
from ..recipe.known_bad import skips_bad
from ..recipe.preflight.disk import check_disk, room
from ..recipe.preflight.judge import judge
from ..recipe.preflight.samples import COUNT, check_batches, read_samples
from ..recipe.preflight.state import count_state
from ..recipe.ranks import rank
from ..recipe.schedule import Schedule
from ..recipe.walk import LOADERS

LINE = 160  # characters of a warning that is repeated; our choice


class Preflight(Hook):
    """Checks the parts that the runner has built, before it initializes the weights.

    Then it repeats the data and the first words of all warnings, because mmengine has printed the
    whole config since.

    Args:
        table: the data that were read.
        warnings: what was told before.
    """

    priority = 'LOWEST'

    def __init__(self, table: list[Split], warnings: list[str]) -> None:
        self.table, self.warnings = table, warnings

    def before_run(self, runner: Runner) -> None:
        """Read the first samples; look for room for the checkpoints.

        Raises:
            RecipeError: a sample cannot be read, all objects are lost, or there is no room.
        """
        if rank() != 0:  # the others wait in the first step
            return
        for line in settle(runner.cfg, _findings(runner, self.table)):
            runner.logger.log(logging.WARNING, line)
            self.warnings.append(line)

    def before_train(self, runner: Runner) -> None:
        """Repeat what matters, just before the first iteration."""
        lines = [f'{row.name}: {_counted(row)}' for row in self.table]
        if lines:
            lines = [f'Data ({FILE} in the work dir): ' + '; '.join(lines)]
        if self.warnings:
            lines.append('Warnings since the start, in short:')
            lines += [f'  - {_short(text)}' for text in self.warnings]
        if lines:
            runner.logger.info('\n'.join(lines))


def _findings(runner: Runner, table: list[Split]) -> Iterator[Finding]:
    cfg = runner.cfg
    yield from check_batches(runner.train_dataloader)
    datasets = {LOADERS[0]: runner.train_dataloader.dataset}
    if runner.val_loop is not None:
        datasets[LOADERS[1]] = runner.val_dataloader.dataset
    samples = []
    for name, dataset in datasets.items():
        trains = name == LOADERS[0]
        skips = trains and skips_bad(cfg)
        samples.append(read_samples(dataset, name, COUNT if trains else 1, skips=skips))
    yield from judge(cfg, samples)
    images = sum(row.images_used for row in table if row.name == 'train')
    schedule = Schedule.of(cfg, images, len(runner.train_dataloader) if images else 0)
    state = count_state(runner.model, getattr(runner.optim_wrapper, 'optimizer', None))
    yield from check_disk(room(cfg, state, schedule.checkpoints) if schedule else None)


def _counted(row: Split) -> str:
    text = f'{row.images_used} images'
    if row.objects_used is not None:
        text += f', {row.objects_used} objects'
    count = len(row.classes)
    return f'{text} of {count} class{"es" * (count != 1)}' if count else text


def _short(text: str) -> str:
    line = text.splitlines()[0]
    return line if len(line) <= LINE else f'{line[: LINE - 4]} ...'
