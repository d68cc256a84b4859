# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/regions.py: pixels and regions of label maps."""

import numpy as np
from dataset_files import HEIGHT, WIDTH, segmentation

from mmconvnext.analysis.dataset import regions as module
from mmconvnext.analysis.dataset.listing import list_split
from mmconvnext.analysis.dataset.regions import read_regions
from mmconvnext.analysis.dataset.split import Split


def read(cfg):
    return read_regions(list_split(Split(cfg, 'train_dataloader')), 0)


def test_pixels_and_regions(tmp_path):
    found = read(segmentation(tmp_path))
    assert found.maps.tolist() == [0, 1, 2] and not found.failed
    assert found.pixels.sum(axis=1).tolist() == [WIDTH * HEIGHT] * 3
    assert found.pixels[1].tolist() == [40 * HEIGHT - 8, 56 * HEIGHT, 0, 8]
    assert found.by_class.tolist() == [3, 3, 0]
    assert found.labels.tolist() == [0, 1] * 3 and found.images.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.boxes[3].tolist() == [40, 0, WIDTH, HEIGHT]
    assert found.objects.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_largest_regions_and_the_smallest(monkeypatch):
    mask = np.zeros((9, 40), bool)
    for i, width in enumerate((1, 5, 2, 4, 3)):
        mask[2:4, 7 * i + 1 : 7 * i + 1 + width] = True
    monkeypatch.setattr(module, 'LARGEST', 2)
    boxes = module._boxes(mask)
    assert boxes == [(8, 2, 13, 4), (22, 2, 26, 4), (1, 2, 2, 4)]
    assert module._boxes(mask[:, :14]) == [(8, 2, 13, 4), (1, 2, 2, 4)]  # none twice


def test_touching_corners_are_one_region():
    assert module._boxes(np.eye(3, dtype=bool)) == [(0, 0, 3, 3)]


def test_a_map_that_cannot_be_read_is_left_out(tmp_path):
    cfg = segmentation(tmp_path)
    (tmp_path / 'labels/2.png').write_bytes(b'no map')
    found = read(cfg)
    assert found.maps.tolist() == [0, 2] and [*found.failed] == [1]


def test_some_of_many(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'MOST_MAPS', 2)
    assert len(read(segmentation(tmp_path)).maps) == 2
