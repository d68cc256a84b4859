# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads the samples of a dataset of mmengine, and says which file is bad, and why.

mmengine reads another sample if a pipeline returns None, with a random index. That is what a bad
sample becomes here, if it is to be skipped; an error of a pipeline names neither file nor sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mmengine.dataset import BaseDataset

from ..recipe.known_bad import FILE
from ..recipe.preflight.trace import levels
from ..resume.randomness import on_cpu, put_on_cpu
from . import listed
from .away import say, wait
from .bad_data import BadDataError
from .board import Board
from .looks import Expected
from .steps import Fault, Steps, classes_of

# Bad ones in a row for a single sample: with a tenth of the files bad, that is no chance; our
# choice.
MOST = 20


@dataclass
class Rules:
    """How the samples of a loader are read.

    Attributes:
        skip: whether a bad sample is replaced by another one,
        measures: unless it belongs to a validation.
        folder: where bad files are listed.
        hurried: whether this process is to end, so that it must not wait.
    """

    skip: bool
    measures: bool
    waits: tuple[float, ...]
    folder: str
    board: Board
    expected: Expected
    hurried: Callable[[], object] = lambda: False


def guard(dataset: object, rules: Rules) -> int:
    """Let the innermost datasets read samples through a :class:`Guard`; return how many can."""
    leaves = {id(level): level for level in levels(dataset) if isinstance(level, BaseDataset)}
    for leaf in leaves.values():
        leaf.prepare_data = Guard(leaf, rules)
    return len(leaves)


class Guard:
    """Stands in for ``prepare_data`` of a dataset.

    Args:
        dataset: one whose ``prepare_data`` calls ``self.pipeline``.
    """

    def __init__(self, dataset: BaseDataset, rules: Rules) -> None:
        self.dataset, self.rules = dataset, rules
        self.classes = classes_of(dataset)
        self.in_a_row = 0
        self.given_up: set[str] = set()  # files that were waited for in vain

    def __call__(self, index: int) -> object:
        """A sample, or None if mmengine is to read another one.

        Raises:
            BadDataError: the sample is bad, and not to be skipped; or too many are in a row.
        """
        dataset, before = self.dataset, on_cpu()
        pipeline, began, waits = dataset.pipeline, 0.0, iter(self.rules.waits)
        while True:
            steps = Steps(pipeline, *self.classes, self.rules.expected, self.rules.board)
            dataset.pipeline = steps  # for this call only: hooks may set another one
            try:
                sample = type(dataset).prepare_data(dataset, index)
            except BadDataError:
                raise
            except (Exception, SystemExit) as error:  # whatever a transform raises
                put_on_cpu(before)
                fault = steps.fault(error, index)
                if fault.is_away and self._waits(fault, waits, began):
                    began = began or time.monotonic()
                    continue
                self._settle(fault, error)
                return None
            finally:
                dataset.pipeline = pipeline
                self.rules.board.reading('')
            if began:
                self._back(steps.image, began)
            self.in_a_row = 0
            return sample

    def _waits(self, fault: Fault, waits: Iterator[float], began: float) -> bool:
        """Wait before another attempt; False if there is none left."""
        rules = self.rules
        vain = fault.file in self.given_up or (self.in_a_row and not fault.is_folder_lost)
        pause = None if vain else next(waits, None)
        if pause is None:
            self.given_up |= set() if vain else {fault.file}
            rules.board.told.value = 0
            return False
        if not began and not rules.board.told.value:
            rules.board.told.value = 1
            say(
                f'{fault}; waiting for the file system, up to {sum(rules.waits):g} s '
                f'(data_waits={list(rules.waits)})'
            )
        return wait(pause, rules.hurried)

    def _back(self, file: str, began: float) -> None:
        if self.rules.board.told.value:
            self.rules.board.told.value = 0
            say(f'{file}: can be read again, after {time.monotonic() - began:.0f} s')

    def _settle(self, fault: Fault, error: Exception) -> None:
        """Count and list a sample that is to be skipped.

        Raises:
            BadDataError: it is not.
        """
        rules, way = self.rules, ''
        if fault.of_machine:
            way = ' (a fault of the machine, not of the file)'
        elif fault.is_folder_lost:
            way = (
                '; its folder is missing or empty, so the file system seems to be away. Bring it '
                'back; data_waits sets how long to wait for it'
            )
        elif rules.measures:
            way = (
                '. Repair it, or take it out of the validation set: to leave it out now would '
                'change the metric, so --on-bad-data does not'
            )
        elif not rules.skip:
            # So that the checks of a run that goes on with skip let it pass.
            listed.add(rules.folder, fault.file, fault.image, fault.reason)
            mend = '. Repair it, or bring it back from a copy'
            if fault.in_code:
                mend = '. Repair the file; if it is sound, mend the code at that line'
            way = (
                f'{mend}. Or let --on-bad-data skip put other samples in the place of bad ones, '
                f'and list these in {FILE}'
            )
        if way:
            raise BadDataError(f'{fault}{way}') from error
        listed.add(rules.folder, fault.file, fault.image, fault.reason)
        rules.board.replaced()
        self.in_a_row += 1
        if self.in_a_row >= MOST:
            raise BadDataError(
                f'{fault}; the {MOST - 1} samples that were read in its place before are bad too, '
                f'so this is not about single files: see {FILE} in the work dir'
            ) from error
