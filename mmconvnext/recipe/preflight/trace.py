# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Watches the transforms of a dataset at work, and leaves dataset and random numbers as they were.

mmengine reads another sample if a transform returns None, up to a thousand times and in silence,
and an error in a transform does not say of which file.
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import torch

MOST_DISCARDED = 20  # in a row, before a sample is given up; our choice
IGNORED_PIXEL = 255  # mmseg's default ignore_index


class Discarded(Exception):
    """The pipeline has returned None too often in a row; its text is the last transform's name."""


@dataclass
class Trace:
    """What the transforms did to the sample that is being read.

    ``objects`` counts the usable ones after each transform, by its name, while they are known:
    boxes that are not ignored, or pixels of a label map that have a label.
    """

    file: str = ''
    transform: str = ''
    listed: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    discarded: Counter = field(default_factory=Counter)  # samples, by transform

    def begin(self) -> None:
        """Forget the sample before."""
        self.file, self.transform, self.listed, self.objects = '', '', 0, {}

    def lost_by(self) -> str:
        """The transform after which no object was left; '' if there is none, or never were any."""
        found = ''
        for name, count in reversed(self.objects.items()):
            if count:
                break
            found = name
        return found if self.listed or any(self.objects.values()) else ''


class Watched:
    """A transform that reports to a trace; for all else it is the transform itself."""

    def __init__(self, transform: object, trace: Trace, starts: bool) -> None:
        self._transform, self._trace, self._starts = transform, trace, starts
        self._in_a_row = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._transform, name)

    def __call__(self, results: object) -> object:
        trace, name = self._trace, type(self._transform).__name__
        if self._starts and isinstance(results, dict):
            trace.file = str(results.get('img_path') or results.get('filename') or '')
            trace.listed += listed_objects(results)
        trace.transform = name
        found = self._transform(results)
        if found is None:
            trace.discarded[name] += 1
            self._in_a_row += 1
            if self._in_a_row >= MOST_DISCARDED:
                raise Discarded(name)
        else:
            self._in_a_row = 0
            count = usable_objects(found)
            if count is not None:
                trace.objects[name] = count
        return found


@contextmanager
def watching(dataset: object) -> Iterator[Trace]:
    """Watch copies of all transforms of a dataset, in wrappers too.

    They are copies because some keep images for later ones. Random numbers go on afterwards as if
    nothing had been read.
    """
    trace, restore = Trace(), []
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        for level in levels(dataset):
            starts = not _inner(level)  # wrappers get samples that were read before
            holder, key = level, 'pipeline'  # a list, or a Compose with one
            if not isinstance(getattr(level, key, None), list):
                holder, key = getattr(level, key, None), 'transforms'
            transforms = getattr(holder, key, None)
            if isinstance(transforms, list):
                restore.append((holder, key, transforms))
                watched = [
                    Watched(_copied(transform), trace, starts and not i)
                    for i, transform in enumerate(transforms)
                ]
                setattr(holder, key, watched)
        yield trace
    finally:
        for holder, key, transforms in restore:
            setattr(holder, key, transforms)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def levels(dataset: object) -> Iterator[object]:
    """A dataset and those inside of it, outermost first."""
    yield dataset
    for inner in _inner(dataset):
        yield from levels(inner)


def _inner(dataset: object) -> list:
    several = getattr(dataset, 'datasets', None)
    one = getattr(dataset, 'dataset', None)
    return list(several) if isinstance(several, (list, tuple)) else [one] if one is not None else []


def _copied(transform: object) -> object:
    with suppress(Exception):  # one that holds an open file, say
        return copy.deepcopy(transform)
    return transform


def listed_objects(info: dict) -> int:
    """The objects that a dataset lists for an image, but for regions to ignore."""
    instances = info.get('instances')
    if not isinstance(instances, (list, tuple)):
        return 0
    return sum(not one.get('ignore_flag') for one in instances if isinstance(one, dict))


def usable_objects(results: object) -> int | None:
    """Boxes that are not ignored, or pixels that have a label; None if it holds neither."""
    if not isinstance(results, dict):
        return None
    sample = results.get('data_samples')
    if sample is not None:
        return _of_sample(sample)
    if results.get('gt_ignore_flags') is not None:
        return int((~np.asarray(results['gt_ignore_flags'], bool)).sum())
    labels = results.get('gt_seg_map')
    if isinstance(labels, np.ndarray) and 'gt_bboxes' not in results:
        return int((labels != IGNORED_PIXEL).sum())
    return None


def _of_sample(sample: object) -> int | None:
    instances = getattr(sample, 'gt_instances', None)
    if instances is not None:
        return len(instances)
    labels = getattr(getattr(sample, 'gt_sem_seg', None), 'data', None)
    return None if labels is None else int((labels != IGNORED_PIXEL).sum())
