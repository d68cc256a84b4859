# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which classes charts show if there are many; the figures of all are in `analysis.json`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHOWN = 30  # classes in a chart; our choice: more cannot be read


def shown_classes(mistakes: np.ndarray, present: np.ndarray) -> list[int]:
    """Indices of the classes in a matrix, in their order.

    Args:
        mistakes: (K,); if there are too many classes, those with most are shown.
        present: (K,); classes with 0 are left out if there are too many.
    """
    if len(mistakes) <= SHOWN:
        return list(range(len(mistakes)))
    ranked = np.argsort(-mistakes, kind='stable')
    return sorted(int(label) for label in ranked[:SHOWN] if present[label])


def grouped(
    matrix: np.ndarray, names: Sequence[str], kept: Sequence[int], classes: int
) -> tuple[np.ndarray, list[str]]:
    """A confusion matrix of some classes: the others are one row and column, 'other classes'.

    Args:
        matrix: (R, R) counts of ``classes`` and perhaps, as the last, of background.
        names: R names.
        kept: indices of classes.

    Returns:
        The matrix and its names.
    """
    others = [label for label in range(classes) if label not in kept]
    if not others:
        return matrix, list(names)
    last = list(range(classes, len(matrix)))
    groups = [*([label] for label in kept), others, *([label] for label in last)]
    summed = np.array([[matrix[np.ix_(rows, at)].sum() for at in groups] for rows in groups])
    return summed, [*(names[i] for i in kept), 'other classes', *(names[i] for i in last)]
