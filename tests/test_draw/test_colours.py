# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/colours.py: distinct colours, the data's own palette, readable text."""

import colorsys

import pytest

from mmconvnext.draw import distinct_colours, fill_up
from mmconvnext.draw.colours import text_colour


def test_the_first_colours_are_far_apart_and_the_same_each_time():
    colours = distinct_colours(8)
    assert colours == distinct_colours(8) and colours[:3] == distinct_colours(3)
    assert colours[0] == (230, 57, 57)  # hue 0, saturation 0.75, value 0.9
    hues = sorted(colorsys.rgb_to_hsv(*(part / 255 for part in c))[0] for c in colours)
    gaps = [after - before for before, after in zip(hues, [*hues[1:], hues[0] + 1])]
    assert min(gaps) > 0.05
    assert len({*distinct_colours(100)}) == 100 and distinct_colours(0) == []


def test_a_palette_that_is_long_enough_is_taken():
    palette = [[1, 2, 3], [4, 5, 6, 255], [7, 8, 9]]
    assert fill_up(palette, 2) == [(1, 2, 3), (4, 5, 6)]
    assert fill_up(palette, 3) == [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    for short in (palette, None, []):
        assert fill_up(short, 4) == distinct_colours(4)


@pytest.mark.parametrize(
    ('background', 'text'),
    [((255, 255, 255), 0), ((255, 220, 0), 0), ((0, 0, 0), 255), ((20, 20, 255), 255)]
    + [((141, 141, 141), 0), ((140, 140, 140), 255), ((0, 240, 0), 0), ((240, 0, 0), 255)],
)
def test_text_is_readable(background, text):
    assert text_colour(background) == (text,) * 3
