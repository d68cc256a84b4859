# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/contact_sheets.py: which objects are shown, and where the crops are."""

import numpy as np
from dataset_files import CLASSES, HEIGHT, WIDTH, detection, listing, segmentation

from mmconvnext.analysis.dataset import contact_sheets as module
from mmconvnext.analysis.dataset.contact_sheets import CELL, choose_strips, crops, sheets
from mmconvnext.analysis.dataset.listing import list_split
from mmconvnext.analysis.dataset.regions import read_regions
from mmconvnext.analysis.dataset.split import Split


def read(cfg):
    return list_split(Split(cfg, 'train_dataloader'))


def many():
    """Objects 0 to 29 of class 0, ever larger; 30 is long; 31 is of class 1; 32 is ignored."""
    boxes = [[0, 0, 4 + i, 4 + i] for i in range(30)] + [[0, 0, 60, 6], [0, 0, 9, 9], [0, 0, 1, 1]]
    labels, ignored = [0] * 31 + [1, 0], np.zeros(33, bool)
    ignored[32] = True
    return listing(boxes, labels, ignored=ignored)


def test_strips():
    strips = {strip.about: strip.objects for strip in choose_strips(many(), 0, 3, seed=0)}
    assert [*strips] == ['at random', 'smallest', 'largest', 'oddest shapes']
    assert strips['smallest'] == [0, 1, 2] and strips['largest'] == [29, 28, 27]
    assert strips['oddest shapes'][0] == 30
    chosen = strips['at random']
    assert len({*chosen}) == 6 and {*chosen} <= {*range(31)}
    assert chosen == choose_strips(many(), 0, 3, seed=0)[0].objects
    assert chosen != choose_strips(many(), 0, 3, seed=1)[0].objects


def test_few_objects_are_all_shown():
    assert choose_strips(many(), 1, 3, 0) == [('all 1', [31])]
    assert choose_strips(listing([[0, 0, 2, 2]]), 1, 3, 0) == []


def test_a_crop_shows_the_object_in_the_middle(tmp_path):
    found = read(detection(tmp_path))
    pictures = crops(found, found, [0, 6])
    assert {*pictures} == {0, 6} and pictures[0].shape == (CELL, CELL, 3)
    # The cat of image 1: x 8 to 28, y 3 to 34, so the crop has 50 pixels around (18, 18.5).
    middle = pictures[0][CELL // 2, CELL // 2].astype(int)
    assert np.abs(middle - [2 * 18, 3 * 18.5, 40]).max() <= 6
    assert (pictures[0] == (250, 0, 0)).all(axis=-1).any()  # its box
    assert (pictures[0][2, 2] == module.GREY).all()  # outside of the image
    assert (pictures[6] == (0, 0, 250)).all(axis=-1).any()


def test_a_crop_of_an_image_that_cannot_be_loaded_is_grey(tmp_path):
    found = read(detection(tmp_path))
    (tmp_path / 'train/1.png').unlink()
    assert (crops(found, found, [0])[0] == module.GREY).all()


def test_the_box_around_a_mask_that_does_not_fit(tmp_path):
    found = read(detection(tmp_path))
    found.bounds[0] += 8
    white = [
        (picture == 255).all(axis=-1).any() for picture in crops(found, found, [0, 1]).values()
    ]
    assert white == [True, False]


def test_sheets(tmp_path):
    found = read(detection(tmp_path))
    made = {label: (strips, sheet) for label, strips, sheet in sheets(found, found, 0)}
    assert {*made} == {0, 1}
    strips, sheet = made[1]
    assert strips == [('all 4', [1, 2, 4, 6])]
    assert sheet.shape[1] == module.WIDEST * (CELL + 4) and sheet.shape[0] < 2 * CELL


def test_a_small_object_is_shown_with_its_surroundings():
    assert module._square(np.array([10, 10, 12, 14.0])) == (-1, 0, module.LEAST)
    assert module._square(np.array([10, 10, 110, 60.0])) == (-20, -45, 160)


def test_a_square_beside_the_image_is_filled():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert (module._cut(image, WIDTH + 9, 3, 30, 60) == module.GREY).all()
    assert not module._cut(image, 3, 3, 30, 60).any()


def test_the_rarest_classes_if_there_are_many(monkeypatch, tmp_path):
    monkeypatch.setattr(module, 'MOST_SHEETS', 1)
    found = read(detection(tmp_path))
    assert [label for label, _, _ in sheets(found, found, 0)] == [CLASSES.index('cat')]


def test_long_names_are_cut_at_the_beginning():
    cell = np.zeros((CELL, CELL, 3), np.uint8)
    short, long = (module._named(cell, name) for name in ('a.png', 'n' * 300 + '.png'))
    assert short.shape == long.shape and (short != long).any()


def test_regions_of_label_maps(tmp_path):
    found = read(segmentation(tmp_path))
    regions = read_regions(found, 0)
    made = {label: strips for label, strips, _ in sheets(found, regions, 0)}
    assert {*made} == {0, 1} and made[1][0].objects == [1, 3, 5]
    soil, crop = (crops(found, regions, [i])[i] for i in (0, 1))
    x, y = CELL // 2, CELL // 2
    assert soil[y, x, 0] > soil[y, x, 2] and crop[y, x, 2] > 100  # red and blue tints
