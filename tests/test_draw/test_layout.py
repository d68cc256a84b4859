# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/layout.py: sizes, gaps and order of arranged pictures."""

import numpy as np
import pytest

from mmconvnext.draw import beside, enlarge, layout, sheet, with_legend, with_title, with_titles
from mmconvnext.draw.layout import NARROW, fit


def block(value, height=4, width=6):
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize('least, scale', [(3, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_small_images_are_enlarged_by_whole_factors(least, scale):
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    large, factor = enlarge(image, least)
    assert factor == scale and large.shape == (4 * scale, 6 * scale)
    assert (large[::scale, ::scale] == image).all() and large[scale - 1, -1] == image[0, -1]


def test_side_by_side_with_a_white_gap():
    picture = beside(block(1), block(2, height=7))
    assert picture.shape == (7, 6 + 8 + 6, 3)
    assert (picture[:4, :6] == 1).all() and (picture[:, 14:] == 2).all()
    assert (picture[4:, :6] == 255).all() and (picture[:, 6:14] == 255).all()


def test_a_sheet_has_rows():
    picture = sheet([block(1), block(2, height=2), block(3, width=9)], columns=2)
    assert picture.shape == (4 + 8 + 4, 9 + 8 + 9, 3)
    assert (picture[:4, :6] == 1).all() and (picture[:2, 17:23] == 2).all()
    assert (picture[12:, :9] == 3).all() and (picture[12:, 9:] == 255).all()
    assert sheet([block(1)], columns=5).shape == (4, 6, 3)
    assert sheet([block(1), block(2)], columns=1, cell=12).shape == (8 + 8 + 8, 12, 3)
    with pytest.raises(ValueError, match='at least one picture'):
        sheet([], columns=2)


def test_fit_keeps_the_ratio():
    assert fit(block(1), 12).shape == (8, 12, 3) and fit(block(1, 300, 2), 30).shape == (30, 1, 3)


@pytest.fixture
def written(monkeypatch):
    rows = []

    def keep(bar, texts, size):
        rows.append((bar.shape, [(y, text) for _, y, text, _ in texts]))

    monkeypatch.setattr(layout, 'put_texts', keep)
    return rows


@pytest.mark.parametrize('title', ['flipped: horizontal, brightness x 2.5', 'x' * 60, '', ' a'])
def test_nothing_of_a_long_title_is_lost(title, written):
    titled = with_title(block(7, 20, 150), title)
    ((shape, lines),) = written
    assert ''.join(text for _, text in lines).replace(' ', '') == title.replace(' ', '')
    assert [y for y, _ in lines] == [2 + 20 * i for i in range(len(lines))]
    assert all(layout.text_size(text, layout.TEXT)[0] <= 146 for _, text in lines)
    assert shape == (20 * len(lines) + 6, 150, 3) and len(titled) == 20 + shape[0]
    if title.startswith('flipped'):
        assert [text for _, text in lines] == ['flipped:', 'horizontal,', 'brightness x 2.5']


def test_pictures_with_titles_stay_in_line(written):
    one, two = with_titles([block(1, 20, 150), block(2, 20, 6)], ['a', 'word ' * 20])
    assert len(one) == len(two) and (one[-20:] == 1).all()
    assert two.shape[1] == NARROW and (two[-20:, :6] == 2).all() and (two[-20:, 6:] == 255).all()
    assert len(written[0][1]) == 1 < len(written[1][1])


def test_title_and_legend():
    titled = with_title(block(7, 20, 120), 'truth')
    assert titled.shape == (26 + 20, 120, 3) and (titled[26:] == 7).all()
    assert titled[0, 0].tolist() == [255] * 3 and (titled[:26] < 100).any()
    names, colours = ['disc', 'square', 'triangle'], [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    one_line = with_legend(block(7, 20, 400), names, colours)
    lines = with_legend(block(7, 20, 80), names, colours)
    assert one_line.shape == (20 + 30, 400, 3) and lines.shape == (20 + 30 + 2 * 26, 80, 3)
    for colour in colours:
        assert (one_line == colour).all(axis=-1).any() and (lines == colour).all(axis=-1).any()
    assert with_legend(block(7), [], []).shape == (4 + 30, 6, 3)
