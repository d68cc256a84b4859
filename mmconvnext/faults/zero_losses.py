# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A part of the loss that is exactly 0 for long: nothing is learnt from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MANY = 200  # iterations in a row; our choice: crops without objects give tens in a row

# Words in the name of a loss, and why it is exactly 0; the first that fits counts.
CAUSES = (
    (
        ('rpn', 'centerness', 'loss_cls', 'loss_bbox', 'loss_mask', 'loss_iou', 'loss_dice'),
        'no object of a batch is used: the annotations are flagged to be ignored (iscrowd, or RLE '
        'masks read with poly2mask=False), the pipeline loses them, or all proposals are '
        'background because the weights of an earlier stage are not trained',
    ),
    (
        ('decode', 'aux', 'loss_ce', 'seg'),
        'all pixels are ignored (255: ignore_index, reduce_zero_label, padding), or the head has '
        'a single class and a softmax',
    ),
)
OTHER = 'its targets are empty'


class ZeroLosses:
    """Counts; to be called in each iteration with the losses."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def count(self, losses: Mapping[str, float]) -> Iterator[str]:
        """Yield a warning for a loss that is 0 for the MANYth time in a row, once for each."""
        for name, value in losses.items():
            seen = self.counts.get(name, 0)
            if seen >= MANY:  # it is told
                continue
            self.counts[name] = seen + 1 if value == 0 else 0
            if self.counts[name] == MANY:
                yield (
                    f'{name} was exactly 0 in the last {MANY} iterations, so nothing is learnt '
                    f'from it. Likely causes: {_cause(name)}; or its loss_weight is 0. Look at '
                    'the samples with tools/browse_dataset.py'
                )


def _cause(name: str) -> str:
    parts = name.lower()
    return next((cause for words, cause in CAUSES if any(w in parts for w in words)), OTHER)
