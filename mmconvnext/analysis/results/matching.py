# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which prediction stands for which object of an image, and what the others are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# What a prediction may be.
RIGHT, WRONG_CLASS, DUPLICATE, MISPLACED, BACKGROUND, IGNORED = (
    'right',
    'wrong class',
    'duplicate',
    'misplaced',
    'background',
    'ignored',
)
FALSE = (WRONG_CLASS, DUPLICATE, MISPLACED, BACKGROUND)
# With less overlap than this, a prediction has nothing to do with an object: TIDE,
# https://arxiv.org/abs/2008.08115, section 2.2.
NEAR = 0.1


class Outcome(NamedTuple):
    """The matches of an image with P predictions and G objects."""

    kinds: np.ndarray  # (P,) RIGHT and so on
    partners: np.ndarray  # (P,) the object that is right or of another class; -1: none
    found_by: np.ndarray  # (G,) its prediction, right or of another class; -1: none

    def missed(self, crowds: np.ndarray) -> np.ndarray:
        """(G,) whether nothing stands for an object; regions to ignore are not missed."""
        return (self.found_by < 0) & ~crowds


def match(
    ious: np.ndarray,
    labels: np.ndarray,
    truth: np.ndarray,
    crowds: np.ndarray,
    threshold: float,
) -> Outcome:
    """Match predictions with objects: each at most once, the same class first, then by IoU.

    The counts are those of supervision's ConfusionMatrix, which knows neither regions to ignore nor
    which object was missed. A prediction that stands for no object is ignored if it lies in a
    region to ignore of its class, as in COCO's evaluation; a duplicate if it overlaps an object
    of its class that another one stands for; misplaced if it overlaps an object of its class
    by at least ``NEAR``; and else background.

    Args:
        ious: (P, G) overlaps; with a crowd, the part of the prediction that lies in it.
        labels, truth: (P,) and (G,) classes.
        crowds: (G,) regions to ignore.
        threshold: the least IoU of a match.
    """
    ious = np.asarray(ious, float).reshape(len(labels), len(truth))
    same = labels[:, None] == truth[None]
    partners = np.full(len(labels), -1)
    found_by = np.full(len(truth), -1)
    close = ious >= threshold
    rows, columns = np.nonzero(close & ~crowds[None])
    for at in np.lexsort((-ious[rows, columns], ~same[rows, columns])):
        row, column = rows[at], columns[at]
        if partners[row] < 0 and found_by[column] < 0:
            partners[row], found_by[column] = column, row
    kinds = np.full(len(labels), BACKGROUND, dtype=object)
    near = same & ~crowds[None]
    kinds[(near & (ious >= NEAR)).any(axis=1)] = MISPLACED
    kinds[(near & close).any(axis=1)] = DUPLICATE
    kinds[(same & crowds[None] & close).any(axis=1)] = IGNORED
    matched = partners >= 0
    right = matched.copy()
    right[matched] = labels[matched] == truth[partners[matched]]
    kinds[matched] = WRONG_CLASS
    kinds[right] = RIGHT
    return Outcome(kinds, partners, found_by)
