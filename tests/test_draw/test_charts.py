# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/charts.py: the values are where a reader looks for them, under any name."""

import warnings

import numpy as np
import pytest
from matplotlib import pyplot

from mmconvnext.draw.charts import (
    bars,
    chart_picture,
    curves,
    histogram,
    matrix,
    number_text,
    plain,
    short,
)

NAMES = ['$a$ $', '_hidden', 'Gr\u00f6\u00dfe', 'n' * 60, '\u732b']


def legend(axis) -> list:
    return [text.get_text().strip() for text in axis.get_legend().get_texts()]


def test_bars_stand_in_the_order_of_their_names():
    values = [0.25, 0, float('nan'), 1, 0.5]
    figure = bars(NAMES, {'AP': values, '_b': [1, 1, 1, 1, 0.75]}, title='t', limit=1)
    (axis,) = figure.axes
    first, second = axis.containers
    np.testing.assert_array_equal([bar.get_width() for bar in first], np.nan_to_num(values))
    middles = [(a.get_y() + b.get_y() + b.get_height()) / 2 for a, b in zip(first, second)]
    np.testing.assert_allclose(middles, range(5), atol=1e-9)
    assert axis.get_ylim()[0] > axis.get_ylim()[1]  # the first on top
    assert axis.get_xlim()[0] == 0 and axis.get_xlim()[1] > 1
    assert [text.get_text() for text in axis.texts] == ['0.25', '0', '', '1', '0.50']
    assert legend(axis) == ['AP', '_b']


def test_bars_grow_with_their_number_and_none_is_no_fault():
    heights = [bars(['x'] * n, {'a': [3] * n}, log=True).get_figheight() for n in (0, 1, 30)]
    assert heights[0] == heights[1] < heights[2]
    assert chart_picture(bars([], {'a': []})).shape[2] == 3


def test_curves():
    lines = {f'_{i}': ([0, 1], [0.5, i / 9]) for i in range(9)}
    figure = curves(lines, limits=(0, 1, 0, 2), marks={'best $': 0.4}, xlabel='recall')
    (axis,) = figure.axes
    drawn = axis.get_lines()
    np.testing.assert_allclose([line.get_ydata()[1] for line in drawn[:9]], np.arange(9) / 9)
    looks = {(line.get_color(), line.get_linestyle()) for line in drawn[:9]}
    assert len(looks) == 9
    assert drawn[0].get_linewidth() > drawn[1].get_linewidth()
    assert drawn[9].get_xdata()[0] == 0.4 and axis.get_xlim() == (0, 1)
    assert legend(axis) == list(lines)


@pytest.mark.parametrize('log', [False, True])
def test_histograms_count_every_value(log):
    first, second = [1, 2, 2, 90], [5.0, 7.0, np.nan, np.inf]
    (axis,) = histogram({'a': first, 'b': second}, log_x=log, marks={'32': 32}).axes
    lower = sum(bar.get_height() for bar in axis.containers[0])
    upper = sum(bar.get_height() for bar in axis.containers[1])
    assert (lower, upper) == (4, 2)
    left, right = axis.get_xlim()
    assert left == pytest.approx(1) and right == pytest.approx(90)


@pytest.mark.parametrize('values', [[], [4.0], [0.0, 0.0]])
@pytest.mark.parametrize('log', [False, True])
def test_a_histogram_of_little(values, log):
    (axis,) = histogram({'a': values}, log_x=log, log_y=log).axes
    assert axis.get_xlim()[0] < axis.get_xlim()[1]
    chart_picture(axis.figure)


@pytest.mark.parametrize('log', [False, True])
def test_names_of_marks_at_the_right_border_are_not_cut(log):
    marks = {'left': 10, 'right': 98}
    figure = histogram({'a': [1, 100]}, log_x=log, marks=marks)
    chart_picture(figure)
    (axis,) = figure.axes
    sides = {text.get_text(): text.get_ha() for text in axis.texts}
    assert sides == dict(left='left', right='right')
    for text in axis.texts:
        assert text.get_window_extent().x1 <= axis.get_window_extent().x1


def test_a_matrix_has_numbers_if_there_is_room():
    values = np.array([[0.25, 0, 1], [np.nan, 0.5, 0.125]])
    (axis,) = matrix(values, ['a', '_b'], ['x', '$y$', 'z'], ylabel='truth').axes
    texts = {text.get_position(): text.get_text() for text in axis.texts}  # x is the column
    assert texts[0, 0] == '0.25' and texts[2, 0] == '1' and texts[1, 1] == '0.50'
    assert texts[1, 0] == texts[0, 1] == ''
    counts = np.array([[5, 0, 1], [2, 3, 4]])
    (axis,) = matrix(values, ['a', 'b'], list('xyz'), numbers=counts).axes
    assert [text.get_text() for text in axis.texts] == ['5', '', '1', '2', '3', '4']
    many = matrix(np.zeros((17, 17)), [str(i) for i in range(17)], ['x'] * 17)
    assert not many.axes[0].texts


def test_any_name_is_drawn_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        picture = chart_picture(bars(NAMES, {'$': [1, 2, 3, 4, 5], '_': [1] * 5}))
    assert picture.dtype == np.uint8 and picture.shape[1:] == (800, 3)
    assert picture[0, 0].tolist() == [255, 255, 255] and (picture != 255).any()


def test_numbers_and_names():
    texts = [number_text(value) for value in (0.126, 0, 1, 12.0, float('nan'))]
    assert texts == ['0.13', '0', '1', '12', '']
    assert plain('_a$') == r' _a\$' and plain('b_') == 'b_'
    assert short('n' * 28) == 'n' * 28 and short('n' * 29) == 'n' * 25 + '...'


def test_pyplot_is_not_touched():
    """Its state belongs to the user, whose notebook may run these functions."""
    before = pyplot.figure()
    try:
        chart_picture(bars(['a'], {'b': [1]}))
        assert pyplot.gcf() is before and pyplot.get_fignums() == [before.number]
    finally:
        pyplot.close(before)
