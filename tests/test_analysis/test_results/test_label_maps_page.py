# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/label_maps_page.py: what the page says, and the map of errors."""

import numpy as np
import pytest

from mmconvnext.analysis.results import label_maps_page
from mmconvnext.analysis.results.label_maps import ImageMaps, LabelMapAnalysis
from mmconvnext.analysis.results.label_maps_page import GREY, LEAST, MOST, RED, draw_maps, fill_page
from mmconvnext.draw.page import Page

COLOURS = [(10, 20, 30), (200, 0, 0), (0, 0, 200)]
TRUTH = np.zeros((20, 40), int)
TRUTH[:, 30:] = 1
TRUTH[:5] = 255
FOUND = np.zeros((20, 40), int)


@pytest.fixture
def quick(monkeypatch):
    """Charts that are not drawn, which takes a third of a second for each."""
    blank = np.zeros((2, 3, 3), np.uint8)
    monkeypatch.setattr(label_maps_page, 'chart_picture', lambda figure: blank)


def analysis(classes=('soil', 'crop', 'weed'), found=FOUND) -> LabelMapAnalysis:
    ours = LabelMapAnalysis(classes)
    ours.add('some where/a.jpg', TRUTH, found)
    return ours


def page(folder, ours, colours=COLOURS):
    made = Page(folder, 'Mistakes')
    fill_page(made, ours, lambda path: np.full((20, 40, 3), 90, np.uint8), colours)
    text = made.write().read_text(encoding='utf-8')
    return text, sorted(path.stem for path in (folder / 'pictures').iterdir())


def test_a_page(tmp_path):
    text, pictures = page(tmp_path, analysis())
    assert pictures == ['classes', 'confusion', 'image_01_a', 'shares']
    assert 'some where/a.jpg: 25.0% of the pixels are wrong' in text
    assert 'Neither in these data nor predicted: weed.' in text
    assert '<td>crop</td><td>soil</td><td>100.0%</td>' in text
    assert '<td>crop</td><td>0.00%</td>' in text and '<td>25.00%</td>' in text


def test_nothing_is_wrong_or_nothing_is_labelled(tmp_path, quick):
    right = analysis(found=np.where(TRUTH == 1, 1, 0))
    empty = LabelMapAnalysis(['soil', 'crop', 'weed'])
    empty.add('a.jpg', TRUTH * 0 + 255, FOUND)
    for name, ours in (('right', right), ('empty', empty)):
        (tmp_path / name).mkdir()
        text, pictures = page(tmp_path / name, ours)
        assert 'None: no pixel is wrong' in text and 'image_01_a' not in pictures


def test_many_classes(tmp_path, quick):
    classes = [f'class {number}' for number in range(150)]
    random = np.random.default_rng(0)
    ours = LabelMapAnalysis(classes)
    ours.add('a.jpg', random.integers(0, 120, (20, 40)), random.integers(0, 120, (20, 40)))
    text, pictures = page(tmp_path, ours, [(i, i, 0) for i in range(150)])
    assert 'classes' in pictures and len(ours.by_iou()) > 100
    assert text.count('<td>class ') >= len(ours.by_iou())


@pytest.mark.parametrize('shape', [(20, 40), (40, 20)])
def test_errors_are_red_and_ignored_pixels_grey(shape):
    image = np.zeros((*shape, 3), np.uint8)
    truth = TRUTH if shape == TRUTH.shape else TRUTH.T
    maps = ImageMaps('a.jpg', truth, np.zeros(shape, int))
    picture = draw_maps(image, maps, analysis(), COLOURS).astype(int)
    tinted = [np.round(np.array(colour) * 0.75) for colour in (RED, GREY)]
    red, grey = ((abs(picture - colour) < 2).all(axis=2).sum() for colour in tinted)
    scale = (LEAST / max(shape)) ** 2
    assert red == pytest.approx(150 * scale, rel=0.1)
    assert grey == pytest.approx(200 * scale, rel=0.1)
    columns = 2 if shape[1] > shape[0] else 4
    assert picture.shape[1] == columns * round(LEAST * shape[1] / max(shape)) + 8 * (columns - 1)


def test_large_images_are_shrunk():
    image = np.zeros((1000, 800, 3), np.uint8)
    maps = ImageMaps('a.jpg', np.zeros((1000, 800), int), np.ones((1000, 800), int))
    assert draw_maps(image, maps, analysis(), COLOURS).shape[1] == 4 * MOST * 8 // 10 + 3 * 8
