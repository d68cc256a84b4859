# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A pipeline that looks at the files of a sample and what was loaded of them, and names a fault."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmengine.dataset import BaseDataset, Compose

from ..data.undecoded import why_unloaded
from .away import is_away, is_folder_lost
from .board import Board
from .looks import (
    BadSample,
    Expected,
    files_of,
    listed_size,
    look_at_boxes,
    look_at_classes,
    look_at_file,
    look_at_image,
    look_at_label_map,
    look_at_sizes,
)

LONGEST = 300  # characters of a reason; our choice
UNLOADED = 'failed to load image'  # how mmcv's and our message begins
# Of the machine, whatever file was read.
OF_MACHINE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC)


class Fault(NamedTuple):
    """Why a sample cannot be used.

    Attributes:
        file: the bad one, or the sample's number.
        image: that of the sample.
        is_away: whether it may pass, as the faults of networks do.
        is_folder_lost: whether all files of the folder are missing.
        of_machine: whether it would have befallen any file.
        in_code: whether code failed at the sample, so that the code may be at fault.
    """

    file: str
    image: str
    reason: str
    is_away: bool = False
    is_folder_lost: bool = False
    of_machine: bool = False
    in_code: bool = False

    def __str__(self) -> str:
        return f'{self.file}: {self.reason}'


class Steps:
    """A pipeline, for one sample, that looks at each file and at what was loaded of it.

    Args:
        classes, ids: see :func:`classes_of`.
    """

    def __init__(
        self, pipeline: Callable, classes: int, ids: int, expected: Expected, board: Board
    ) -> None:
        self.pipeline, self.board = pipeline, board
        self.classes, self.ids, self.expected = classes, ids, expected
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
            self.board.reading(file)
            header = look_at_file(file, self.listed if is_image else None, self.expected)
            if is_image:
                self.header = header
            else:
                look_at_sizes(self.header, header, self.expected)
        self.looking = ''
        self.board.reading(self.image)

    def _look_at(self, results: dict) -> None:
        """Look at what the last transform has loaded."""
        if self._new('img', results):
            look_at_image(results['img'], self.header, self.listed, self.expected)
        if self._new('gt_seg_map', results):
            self.looking = self.label_map
            look_at_label_map(
                results['gt_seg_map'], results.get('ori_shape'), self.ids, self.expected
            )
            self.looking = ''
        if self._new('gt_bboxes', results):
            look_at_boxes(results, self.expected)
        if self._new('gt_bboxes_labels', results):
            look_at_classes(results['gt_bboxes_labels'], self.classes)

    def _new(self, key: str, results: dict) -> bool:
        new = key not in self.seen and results.get(key) is not None
        self.seen |= {key} if new else set()
        return new

    def fault(self, error: Exception, index: int) -> Fault:
        """What made the last transform fail."""
        file = self._culprit()
        known = self._known(error, file)
        reason = known or self._place(error, file)
        if file and file == self.label_map:
            reason += f' (label map of {self.image})'
        return Fault(
            file or f'sample {index}',
            self.image,
            reason,
            is_away=is_away(error, file),
            is_folder_lost=is_folder_lost(error, file),
            of_machine=isinstance(error, MemoryError) or getattr(error, 'errno', 0) in OF_MACHINE,
            in_code=not known,
        )

    def _culprit(self) -> str:
        loads_labels = 'img' in self.seen and 'gt_seg_map' not in self.seen
        if not self.looking and self.label_map and loads_labels and self.step.startswith('Load'):
            return self.label_map
        return self.looking or self.image

    def _known(self, error: Exception, file: str) -> str:
        """What is wrong with the file, in a line, without its name; '' if that is not sure."""
        if isinstance(error, BadSample):
            return str(error)
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        if isinstance(error, AssertionError) and UNLOADED in str(error):
            return why_unloaded(file) or UNLOADED
        return ''

    def _place(self, error: Exception, file: str) -> str:
        """Which code failed at the sample, and how."""
        text = ' '.join(str(error).split()).removeprefix(f'{UNLOADED}: ').removeprefix(file)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f'{Path(frame.filename).name}, line {frame.lineno}'
        where = f'{type(error).__name__} in {self.step or "the dataset"} ({place})'
        return f'{where}: {text.removeprefix(": ")}'[:LONGEST]


def _loads_label_maps(transform: object) -> bool:
    return getattr(transform, 'with_seg', False) or type(transform).__name__ == 'LoadLabelMap'


def classes_of(dataset: BaseDataset) -> tuple[int, int]:
    """How many classes a dataset has, and how many its label maps name by their own numbers.

    Each 0 if that is not known. mmseg's ids are those of the classes, if it maps none.
    """
    classes = len(dataset.metainfo.get('classes') or ())  # a copy of everything, so ask once
    plain = hasattr(dataset, 'reduce_zero_label') and not getattr(dataset, 'label_map', None)
    return classes, classes * plain
