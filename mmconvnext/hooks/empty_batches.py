# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Says that a detector sees no object for long, while it trains."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log

MANY = 50  # batches in a row; at the usual 16 images these are 800 without an object; our choice


class EmptyBatches(Hook):
    """Warns once, if ``MANY`` batches in a row hold no object to learn.

    The file had objects, or the checks would have refused it. So the pipeline loses them, or the
    sampler picks images without any.
    """

    def __init__(self) -> None:
        self.count = 0
        self.told = False

    def after_train_iter(
        self, runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        objects = _objects(data_batch)
        if objects is None or self.told:
            return
        self.count = 0 if objects else self.count + 1
        if self.count == MANY:
            self.told = True
            print_log(
                f'the last {MANY} batches had no object to learn, so this run learns that all is '
                'background. Likely causes: random crops or a filter of the pipeline '
                '(FilterAnnotations) lose them, or most images have no objects; look at the images '
                "with mmdet's tools/analysis_tools/browse_dataset.py, and at used_data.json in the "
                'work dir for what the files hold',
                logger='current',
                level=logging.WARNING,
            )


def _objects(batch: object) -> int | None:
    """The number of objects in a detector's batch; None if it is none."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not isinstance(samples, Sequence) or not samples:
        return None
    found = [getattr(sample, 'gt_instances', None) for sample in samples]
    return None if None in found else sum(map(len, found))
