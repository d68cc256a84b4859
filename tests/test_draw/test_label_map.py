# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/label_map.py: pixels get the colour of their class."""

import numpy as np
import pytest

from mmconvnext.draw import draw_label_map

COLOURS = [(200, 0, 0), (0, 100, 0)]


def test_each_class_has_its_colour_and_other_values_none():
    image = np.full((2, 3, 3), 100, np.uint8)
    labels = np.array([[0, 1, 2], [255, -1, 1]])
    picture = draw_label_map(image, labels, COLOURS, opacity=0.25)
    red, green, plain = [125, 75, 75], [75, 100, 75], [100] * 3
    assert picture.tolist() == [[red, green, plain], [plain, plain, green]]
    assert (image == 100).all()
    colours_alone = draw_label_map(image, labels, COLOURS, opacity=1)
    assert colours_alone[0, 0].tolist() == [200, 0, 0]
    assert draw_label_map(image, labels.astype(np.uint8), COLOURS)[0, 0].tolist() == [155, 45, 45]


@pytest.mark.parametrize('outline', [0, 1])
@pytest.mark.parametrize('name', ['background', 'Background', ' BACKGROUND'])
def test_what_is_called_background_is_not_tinted(name, outline):
    image, labels = np.full((1, 4, 3), 100, np.uint8), np.array([[1, 1, 0, 0]])
    picture = draw_label_map(image, labels, COLOURS, outline=outline, classes=[name, 'cat'])
    assert (picture != 100).any(axis=2).tolist() == [[not outline, True, False, False]]
    picture = draw_label_map(image, labels, COLOURS, classes=['backgrounds', 'cat'])
    assert (picture != 100).any(axis=2).all()


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.int64])
def test_borders_alone(kind):
    labels = np.zeros((6, 9), kind)
    labels[:, 4:] = 1
    labels[:, 7:] = 255
    image = np.full((6, 9, 3), 100, np.uint8)
    picture = draw_label_map(image, labels, COLOURS, outline=1)
    row = [[100] * 3] * 3 + [[200, 0, 0], [0, 100, 0], [100] * 3, [0, 100, 0]] + [[100] * 3] * 2
    assert picture.tolist() == [row] * 6
    wider = draw_label_map(image, labels, COLOURS, outline=2)
    assert (wider[0] != 100).any(axis=1).tolist() == [False] * 2 + [True] * 5 + [False] * 2
    assert (draw_label_map(image, labels * 0, COLOURS, outline=1) == 100).all()


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r'a label map of \(3, 2\) for an image of \(2, 3\)'):
        draw_label_map(np.zeros((2, 3), np.uint8), np.zeros((3, 2), int), COLOURS)
