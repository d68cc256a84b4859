# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/results/objects_page.py: what the page says, and which pictures it has."""

import re

import detections
import numpy as np
import pytest
from detections import HEIGHT, OBJECTS, WIDTH, found, rules, truth

from mmconvnext.analysis.results import objects_page
from mmconvnext.analysis.results.coco import BOXES, MASKS
from mmconvnext.analysis.results.objects import analyze_objects
from mmconvnext.draw.page import Page


@pytest.fixture
def quick(monkeypatch):
    """Charts that are not drawn, which takes a third of a second for each."""
    blank = np.zeros((2, 3, 3), np.uint8)
    monkeypatch.setattr(objects_page, 'chart_picture', lambda figure: blank)


def write(folder, classes=detections.CLASSES, images=9, predictions=None, rows=OBJECTS):
    """The text of a page, and the names of its pictures."""
    predictions = found('pictures of/') if predictions is None else predictions
    kinds = [BOXES, MASKS]
    analysis = analyze_objects(rules(truth(rows)), predictions, classes, kinds, score=0.5, iou=0.5)
    reads = []

    def read(path):
        reads.append(path)
        return np.full((HEIGHT, WIDTH, 3), 120, np.uint8)

    page = Page(folder, 'Mistakes')
    objects_page.fill_page(page, analysis, read, images)
    text = page.write().read_text(encoding='utf-8')
    return text, sorted(path.stem for path in (folder / 'pictures').iterdir()), reads


def test_a_page(tmp_path):
    text, pictures, reads = write(tmp_path)
    assert [name for name in pictures if name.startswith('image')] == [
        'image_01_3', 'image_02_1', 'image_03_2', 'image_04_4',
    ]  # fmt: skip
    crops = [name for name in pictures if re.match('false|missed', name)]
    assert crops == [
        'false_01_emu', 'false_02_dog', 'false_03_cat', 'false_04_dog', 'missed_01_dog',
        'missed_02_dog',
    ]  # fmt: skip
    charts = [name for name in pictures if name not in crops and 'image' not in name]
    assert charts == [
        'classes', 'confusion', 'precision_recall_0.50', 'precision_recall_0.75', 'scores', 'sizes',
        'thresholds',
    ]  # fmt: skip
    assert set(reads) == {f'pictures of/{number}.png' for number in range(1, 5)}
    assert 'Without objects in these data: emu.' in text
    assert 'pictures of/1.png: 2 right, 1 missed, 0 wrong class, 1 duplicate' in text
    assert 'dog 0.70: wrong class, is cat. pictures of/2.png' in text
    assert 'emu 0.99: background. ' in text and 'dog, 6 x 8 pixels. ' in text
    assert '<td>cat</td><td>dog</td><td class="number">1</td>' in text  # who is taken for whom
    assert text.count('<h2') == 9


@pytest.mark.parametrize('images', [0, 1])
def test_as_many_images_as_asked_for(images, tmp_path, quick):
    _, pictures, _ = write(tmp_path, images=images)
    assert len([name for name in pictures if name.startswith('image')]) == images


def test_no_predictions_and_no_objects(tmp_path, quick):
    none = [one._replace(boxes=np.zeros((0, 4)), labels=np.zeros(0, int), scores=np.zeros(0),
                         masks=[]) for one in found()]  # fmt: skip
    for name, rows in (('a', OBJECTS), ('b', [])):
        folder = tmp_path / name
        folder.mkdir()
        text, pictures, _ = write(folder, predictions=none, rows=rows)
        assert 'thresholds' not in pictures and not [n for n in pictures if 'false' in n]
        assert ('None: there is no mistake.' in text) == (not rows)
        assert ('classes' in pictures) == bool(rows)


def test_of_many_classes_the_worst_are_shown(tmp_path, monkeypatch, quick):
    """All are in the table."""
    drawn = {}

    def spy(names, series, **options):
        drawn[options['title']] = list(names)
        return bars(names, series, **options)

    bars = objects_page.bars
    monkeypatch.setattr(objects_page, 'bars', spy)
    classes = [f'$class_{number}' for number in range(45)]
    monkeypatch.setattr(detections, 'IDS', list(range(1, 46)))
    rows = [(1 + i % 4, i, (i, 2, i + 20, 30 + i % 9), 0) for i in range(40)]
    text, pictures, _ = write(tmp_path, classes=classes, rows=rows, predictions=[
        detections.prediction(1 + i % 4, [(i, 0.9, rows[i][2])]) for i in range(0, 40, 2)
    ])  # fmt: skip
    shown = drawn['AP of masks by class (objects), the worst 30 of 40']
    assert len(shown) == 30 and '$class_1 (1)' in shown and 'confusion' in pictures
    assert [name for name in classes if f'<td>{name}</td>' in text] == classes[:40]


def test_one_class_has_one_curve(tmp_path, monkeypatch, quick):
    drawn = {}

    def spy(lines, **options):
        drawn[options['title']] = list(lines)
        return curves(lines, **options)

    curves = objects_page.curves
    monkeypatch.setattr(objects_page, 'curves', spy)
    monkeypatch.setattr(detections, 'IDS', [4])
    only = [detections.prediction(1, [(0, 0.9, (4, 4, 24, 34))])]
    write(tmp_path, classes=['cat'], rows=OBJECTS[:1], predictions=only)
    assert drawn['masks, IoU >= 0.50'] == ['mean of classes']
    assert drawn['All classes together, IoU >= 0.5'] == ['F1', 'precision', 'recall']
