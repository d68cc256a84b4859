# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads the samples of a dataset of mmengine, and says which file is bad, and why.

mmengine reads another sample if a pipeline returns None, with a random index. That is what a bad
sample becomes here, if it is to be skipped; an error of a pipeline names neither file nor sample.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.dataset import BaseDataset, Compose

from ..data.undecoded import why_unloaded
from ..recipe.known_bad import FILE
from ..recipe.preflight.trace import levels
from . import listed
from .away import is_away, say, wait
from .bad_data import BadDataError
from .board import Board
from .looks import (
    BadSample,
    Expected,
    files_of,
    listed_size,
    look_at_boxes,
    look_at_file,
    look_at_image,
    look_at_label_map,
    look_at_sizes,
)

# Bad ones in a row for a single sample: with a tenth of the files bad, that is no chance; our
# choice.
MOST = 20
LONGEST = 300  # characters of a reason; our choice
UNLOADED = 'failed to load image'  # how mmcv's and our message begins
# Of the machine, whatever file was read.
OF_MACHINE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC)


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
        self.in_a_row = 0
        self.given_up: set[str] = set()  # files that were waited for in vain

    def __call__(self, index: int) -> object:
        """A sample, or None if mmengine is to read another one.

        Raises:
            BadDataError: the sample is bad, and not to be skipped; or too many are in a row.
        """
        dataset, before = self.dataset, _randomness()
        pipeline, began, waits = dataset.pipeline, 0.0, iter(self.rules.waits)
        while True:
            steps = Steps(pipeline, self.rules, dataset)
            dataset.pipeline = steps  # for this call only: hooks may set another one
            try:
                sample = type(dataset).prepare_data(dataset, index)
            except BadDataError:
                raise
            except Exception as error:  # whatever a broken file makes a transform raise
                _restore(before)
                file = steps.culprit()
                away = is_away(error, file)
                reason = f'{steps.reason(error)}{_of_map(steps, file)}'
                of_machine = isinstance(error, MemoryError) or (
                    isinstance(error, OSError) and error.errno in OF_MACHINE
                )
                if away and self._waits(file, reason, waits, began):
                    began = began or time.monotonic()
                    continue
                self._settle(file or f'sample {index}', reason, steps.image, of_machine, error)
                return None
            finally:
                dataset.pipeline = pipeline
                self.rules.board.reading('')
            if began:
                self._back(file, began)
            self.in_a_row = 0
            return sample

    def _waits(self, file: str, reason: str, waits: object, began: float) -> bool:
        """Wait before another attempt; False if there is none left."""
        rules = self.rules
        pause = None if self.in_a_row or file in self.given_up else next(waits, None)
        if pause is None:
            self.given_up.add(file)
            return False
        if not began and not rules.board.told.value:
            rules.board.told.value = 1
            say(
                f'{file}: {reason}; waiting for the file system, up to {sum(rules.waits):g} s '
                f'(data_waits={list(rules.waits)})'
            )
        return wait(pause, rules.hurried)

    def _back(self, file: str, began: float) -> None:
        if self.rules.board.told.value:
            self.rules.board.told.value = 0
            say(f'{file}: can be read again, after {time.monotonic() - began:.0f} s')

    def _settle(
        self, file: str, reason: str, image: str, of_machine: bool, error: Exception
    ) -> None:
        """Count and list a sample that is to be skipped.

        Raises:
            BadDataError: it is not.
        """
        rules, text = self.rules, f'{file}: {reason}'
        if of_machine:
            raise BadDataError(f'{text} (a fault of the machine, not of the file)') from error
        if rules.measures:
            raise BadDataError(
                f'{text}. Repair it, or take it out of the validation set: to leave it out now '
                'would change the metric, so --on-bad-data does not'
            ) from error
        if not rules.skip:
            raise BadDataError(
                f'{text}. Repair or remove it; or let --on-bad-data skip put other samples in the '
                f'place of bad ones, and list these in {FILE}'
            ) from error
        listed.add(rules.folder, file, image, reason)
        rules.board.replaced()
        self.in_a_row += 1
        if self.in_a_row >= MOST:
            raise BadDataError(
                f'{text}; the {MOST - 1} samples that were read in its place before are bad too, '
                f'so this is not about single files: see {FILE} in the work dir, and '
                'whether the disk or the network with the data is there'
            ) from error


class Steps:
    """A pipeline, for one sample, that looks at each file and at what was loaded of it."""

    def __init__(self, pipeline: Callable, rules: Rules, dataset: BaseDataset) -> None:
        self.pipeline, self.rules = pipeline, rules
        self.expected, self.classes = rules.expected, _classes(dataset)
        self.step, self.image, self.label_map, self.looking = '', '', '', ''
        self.header = self.listed = None
        self.seen: set[str] = set()

    def __call__(self, info: object) -> object:
        """Run the transforms on what the dataset lists for a sample."""
        self._look_at_files(info)
        own = (
            isinstance(self.pipeline, Compose) and type(self.pipeline).__call__ is Compose.__call__
        )
        results = info
        for transform in self.pipeline.transforms if own else [self.pipeline]:
            self.step = type(transform).__name__
            results = transform(results)
            if results is None:
                return None
            if isinstance(results, dict):
                self._look_at(results)
        return results

    def _look_at_files(self, info: object) -> None:
        files = list(files_of(info))
        self.image = next((file for file, is_image in files if is_image), '')
        self.label_map = next((file for file, is_image in files if not is_image), '')
        self.listed = listed_size(info) if self.image else None
        maps = any(map(_loads_label_maps, getattr(self.pipeline, 'transforms', ())))
        for file, is_image in files:
            if not is_image and not maps:  # mmdet names label maps that no transform loads
                continue
            self.looking = file
            self.rules.board.reading(file)
            header = look_at_file(file, self.listed if is_image else None, self.expected)
            if is_image:
                self.header = header
            else:
                look_at_sizes(self.header, header, self.expected)
        self.looking = ''
        self.rules.board.reading(self.image)

    def _look_at(self, results: dict) -> None:
        """Look at what the last transform has loaded."""
        if self._new('img', results):
            look_at_image(results['img'], self.header, self.listed, self.expected)
        if self._new('gt_seg_map', results):
            self.looking = self.label_map
            look_at_label_map(
                results['gt_seg_map'], results.get('ori_shape'), self.classes, self.expected
            )
            self.looking = ''
        if self._new('gt_bboxes', results):
            look_at_boxes(results, self.expected)

    def _new(self, key: str, results: dict) -> bool:
        new = key not in self.seen and results.get(key) is not None
        self.seen |= {key} if new else set()
        return new

    def culprit(self) -> str:
        """The file that made the last transform fail."""
        loads_labels = 'img' in self.seen and 'gt_seg_map' not in self.seen
        if not self.looking and self.label_map and loads_labels and self.step.startswith('Load'):
            return self.label_map
        return self.looking or self.image

    def reason(self, error: Exception) -> str:
        """What is wrong, in a line, without the name of the file."""
        file = self.culprit()
        if isinstance(error, BadSample):
            return str(error)
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        text = ' '.join(str(error).split()).removeprefix(f'{UNLOADED}: ').removeprefix(file)
        if isinstance(error, AssertionError) and UNLOADED in str(error):
            return why_unloaded(file) or UNLOADED
        where = f'{type(error).__name__} in {self.step or "the dataset"}'
        return f'{where}: {text.removeprefix(": ")}'[:LONGEST]


def _of_map(steps: Steps, file: str) -> str:
    return f' (label map of {steps.image})' if file and file == steps.label_map else ''


def _loads_label_maps(transform: object) -> bool:
    return getattr(transform, 'with_seg', False) or type(transform).__name__ == 'LoadLabelMap'


def _classes(dataset: BaseDataset) -> int:
    """How many ids the label maps of mmseg may have; 0 if it is not known."""
    if not hasattr(dataset, 'reduce_zero_label') or getattr(dataset, 'label_map', None):
        return 0  # another kind of dataset, or ids that mmseg maps
    return len(dataset.metainfo.get('classes') or ())


def _randomness() -> tuple:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore(states: tuple) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
