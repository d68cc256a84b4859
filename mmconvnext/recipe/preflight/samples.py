# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads samples through the whole pipeline, as training and validation will."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor
from torch.utils.data import DataLoader

from ...data.undecoded import why_unloaded
from ..checks.finding import Finding
from ..walk import LOADERS
from .trace import Discarded, Trace, watching

COUNT, SECONDS = 8, 2.0  # samples that are read before training, and for how long; our choice
CERTAIN = 10  # lost objects from which on it cannot be chance; our choice
UNLOADED = 'failed to load image'  # all that mmcv says; LoadImage gives the reason
MORE = 3  # times as many samples are read before all objects count as lost; our choice


@dataclass
class Samples:
    """What came out of the samples of one loader.

    ``objects`` are boxes in a detector's samples and pixels with a label in a segmentor's; None if
    the samples hold neither.
    """

    loader: str
    read: int = 0
    listed: int = 0
    objects: int | None = None
    emptied: int = 0  # samples whose objects were all lost
    lost_by: Counter = field(default_factory=Counter)  # transforms that lost the last object
    discarded: Counter = field(default_factory=Counter)  # samples that a transform refused
    seconds: float = 0.0
    low: float = float('inf')  # values of the images, before they are normalized
    high: float = float('-inf')
    channels: int = 0
    fault: str = ''  # why reading stopped

    @property
    def name(self) -> str:
        return self.loader.partition('_')[0]

    def add(self, sample: object, trace: Trace) -> None:
        """Count a sample that was read."""
        self.read += 1
        self.listed += trace.listed
        if trace.objects:
            left = list(trace.objects.values())[-1]
            self.objects = (self.objects or 0) + left
            lost_by = '' if left else trace.lost_by()
            if lost_by:
                self.emptied += 1
                self.lost_by[lost_by] += 1
        image = sample.get('inputs') if isinstance(sample, dict) else None
        if isinstance(image, Tensor) and image.numel():
            self.low = min(self.low, float(image.min()))
            self.high = max(self.high, float(image.max()))
            self.channels = int(image.shape[0])


def read_samples(
    dataset: object,
    loader: str,
    count: int = COUNT,
    seconds: float = SECONDS,
    skips: bool = False,
) -> Samples:
    """Read ``count`` samples, spread over the dataset, for at most ``seconds``; one at least.

    The dataset and random numbers are left as they were. If all objects are lost, more samples are
    read, so that it is no chance.

    Args:
        skips: whether samples may fail, because the training puts others in their place.
    """
    found, begin = Samples(loader), time.perf_counter()
    with watching(dataset) as trace:
        for index in _spread(len(dataset), count * MORE):
            late = found.read and time.perf_counter() - begin > seconds
            if late or (found.read >= count and not _all_lost(found)):
                break
            trace.begin()
            try:
                sample = dataset[index]
            except Discarded as error:
                found.lost_by[str(error)] += 1
                found.fault = (
                    f'{error} discards every sample: of the last {sum(trace.discarded.values())} '
                    'none passed'
                )
                break
            except Exception as error:  # whatever a transform raises, training would too
                if skips:
                    continue
                found.fault = _told(error, trace, index)
                break
            found.add(sample, trace)
        found.discarded = trace.discarded
    found.seconds = time.perf_counter() - begin
    return found


def check_batches(loader: DataLoader) -> Iterator[Finding]:
    """Refuse a training loader without a batch: mmengine would end at once, or never."""
    count = len(loader.dataset)
    if not count or not len(loader):
        yield Finding(
            f'{LOADERS[0]} gives no batch: it has {count} images, and drop_last leaves out a batch '
            'that is not full; set a smaller train_dataloader.batch_size, or drop_last=False',
            'samples',
        )


def check_samples(found: Samples, poly2mask: bool = True) -> Iterator[Finding]:
    """Judge samples: faults, and for training whether the pipeline leaves objects to learn.

    Args:
        poly2mask: that of the pipeline's LoadAnnotations.
    """
    if found.fault:
        yield Finding(f'{found.loader}: {found.fault}', 'samples')
        return
    if found.loader != LOADERS[0] or found.objects is None:
        return
    names = ', '.join(name for name, _ in found.lost_by.most_common(2))
    if not found.objects and (found.listed or found.emptied):
        certain = found.listed >= CERTAIN or not found.listed  # label maps have many pixels
        what = f'0 of {found.listed} instances' if found.listed else 'no labelled pixel'
        hint = ''
        if 'LoadAnnotations' in found.lost_by and not poly2mask:
            hint = ': RLE masks need poly2mask=True in LoadAnnotations'
        elif names:
            hint = f': {names} loses the last ones; correct it, or look at the annotations'
        yield Finding(
            f'{found.loader}: {what} in {found.read} samples is usable after the pipeline{hint}',
            'samples' if certain else '',
        )
    elif found.emptied * 2 > found.read > 1:
        yield Finding(
            f'{found.loader}: the augmentations leave {found.emptied} of {found.read} samples '
            f'without an object to learn ({names}); use larger crops, or crops around objects'
        )


def _all_lost(found: Samples) -> bool:
    return found.objects == 0 and bool(found.listed or found.emptied)


def _spread(length: int, count: int) -> Iterator[int]:
    """Indices from the whole dataset, far ones first; all of a small dataset."""
    step = max(1, length // max(1, count))
    indices = list(range(0, length, step))[:count]
    for start in range(MORE):
        yield from indices[start::MORE]


def _told(error: Exception, trace: Trace, index: int) -> str:
    """Sample, file, transform and error; of nested transforms the innermost."""
    name, inner, step = trace.transform, '', error.__traceback__
    while step is not None:
        owner = step.tb_frame.f_locals.get('self')
        if hasattr(owner, 'transform') and type(owner).__name__ != 'Watched':
            inner = type(owner).__name__
        step = step.tb_next
    name += f' ({inner})' if inner and inner != name else ''
    text = ' '.join(f'{type(error).__name__}: {error}'.split())
    if isinstance(error, AssertionError) and UNLOADED in text:
        text += f': {why_unloaded(trace.file)}'
    where = f' ({trace.file})' if trace.file else ''
    return f'sample {index}{where} fails in {name or "the dataset"}: {text[:500]}'
