# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/shown.py: charts of many classes."""

import numpy as np

from mmconvnext.analysis.results.shown import SHOWN, grouped, shown_classes


def test_few_classes_are_all_shown():
    zeros = np.zeros(SHOWN)
    assert shown_classes(zeros, zeros) == list(range(SHOWN))


def test_of_many_those_with_most_mistakes():
    count = SHOWN + 1
    mistakes, present = np.arange(count), np.ones(count)
    assert shown_classes(mistakes, present) == list(range(1, count))
    present[5] = 0
    assert shown_classes(mistakes, present) == [1, 2, 3, 4, *range(6, count)]


def test_the_others_are_one_row_and_column():
    names = ['a', 'b', 'c', 'background', 'background']  # the fourth is a class
    matrix = np.arange(25).reshape(5, 5)
    summed, kept = grouped(matrix, names, [1, 3], classes=4)
    assert kept == ['b', 'background', 'other classes', 'background']
    np.testing.assert_array_equal(
        summed,
        [[6, 8, 5 + 7, 9], [16, 18, 15 + 17, 19], [1 + 11, 3 + 13, 0 + 2 + 10 + 12, 4 + 14],
         [21, 23, 20 + 22, 24]],
    )  # fmt: skip
    assert summed.sum() == matrix.sum()
    same, kept = grouped(matrix, names, [0, 1, 2, 3], classes=4)
    assert same is matrix and kept == names
