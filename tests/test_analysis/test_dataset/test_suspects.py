# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/suspects.py: each kind on a planted mistake, and just beside its limit."""

import numpy as np
import pytest
from dataset_files import HEIGHT, WIDTH, listing

from mmconvnext.analysis.dataset import suspects
from mmconvnext.analysis.dataset.regions import Regions
from mmconvnext.analysis.dataset.suspects import (
    iou,
    pairs_alike,
    same_images,
    suspicions,
    suspicious_maps,
)

PLAIN = [20, 15, 40, 30]  # nothing is wrong with it
TWICE = 'boxes of the same class on top of each other'
CLASH = 'boxes of different classes on top of each other'


def found(boxes, *args, scale=1.0, **kwargs):
    """What is suspicious, by its name."""
    return {one.what: one for one in suspicions(listing(boxes, *args, **kwargs), scale)}


def test_sound_objects_are_not_suspicious():
    assert found([PLAIN, [50, 20, 80, 40]], [0, 1]) == {}
    assert found([[0, 15, 40, 30]]) == {}  # cut by the border, as many are
    assert found([PLAIN], sizes=[(0, 0)]) == {}  # not known


def test_boxes_on_top_of_each_other():
    near = [20, 15, 40, 31]  # IoU 15 / 16
    one = found([PLAIN, [50, 20, 80, 40], near])[TWICE]
    assert (one.objects, one.total, one.count) == ([0], 3, 1)
    assert one.notes == {0: 'cat, IoU 0.94'}
    (clash,) = found([near, PLAIN], [1, 0]).values()
    assert clash.what == CLASH and set(clash.notes.values()) <= {
        'dog and cat, IoU 0.94',
        'cat and dog, IoU 0.94',
    }


def test_boxes_of_other_images_and_regions_to_ignore_are_not_compared():
    assert found([PLAIN, PLAIN], images=[0, 1]) == {}
    assert found([PLAIN, PLAIN], ignored=np.array([False, True])) == {}


@pytest.mark.parametrize(('height', 'alike'), [(16.6, True), (16.7, False)])  # 15 / 0.9 = 16.67
def test_the_limit_of_alike(height, alike):
    assert (TWICE in found([PLAIN, [20, 15, 40, 15 + height]])) == alike


def test_pairs_are_those_of_every_pair_compared():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 12, (600, 2))
    boxes = np.concatenate([corners, corners + rng.integers(8, 14, (600, 2))], axis=1).astype(float)
    images = rng.integers(0, 3, 600)
    first, second, overlap = pairs_alike(images, boxes)
    i, j = np.triu_indices(600, 1)
    alike = (images[i] == images[j]) & (iou(boxes[i], boxes[j]) >= suspects.ALIKE)
    pairs = {tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist())}
    assert pairs == {*zip(i[alike].tolist(), j[alike].tolist())}
    assert len(pairs) == len(first) > 50
    assert np.allclose(overlap, iou(boxes[first], boxes[second]))


def test_no_boxes_give_no_pairs():
    assert [len(part) for part in pairs_alike(np.zeros(0, int), np.zeros((0, 4)))] == [0, 0, 0]


def test_overlap():
    boxes = np.array([[0, 0, 10, 4], [0, 0, 10, 4], [0, 0, 2, 2]], float)
    others = np.array([[5, 0, 15, 4], [10, 0, 20, 4], [np.nan] * 4])
    assert iou(boxes, others).tolist()[:2] == [1 / 3, 0] and np.isnan(iou(boxes, others)[2])


def test_boxes_that_do_not_fit_their_mask():
    """The second is shifted by 4 of 20 pixels: IoU 2 / 3; the third by 2: 9 / 11."""
    boxes = [PLAIN, PLAIN, [60, 15, 80, 30], [20, 40, 40, 55]]
    bounds = np.array([[20, 15, 40, 30], [24, 15, 44, 30], [62, 15, 82, 30], [np.nan] * 4])
    one = found(boxes, images=[0, 1, 0, 0], bounds=bounds)['boxes that do not fit their mask']
    assert one.objects == [1] and one.notes == {1: 'IoU 0.67'} and one.is_sorted


@pytest.mark.parametrize(('right', 'fills'), [(0.951 * WIDTH, True), (0.949 * WIDTH, False)])
def test_boxes_that_fill_their_image(right, fills):
    names = found([[0, 0, right, HEIGHT]])
    assert ('boxes that fill their image' in names) == fills


@pytest.mark.parametrize(('scale', 'tiny'), [(1.0, False), (0.5, True), (2.0, False)])
def test_tiny_objects_are_tiny_for_the_model(scale, tiny):
    names = found([[20, 15, 26, 40], PLAIN], scale=scale)
    assert ('tiny objects' in names) == tiny
    if tiny:
        assert names['tiny objects'].objects == [0]
        assert 'less than 4 pixels as the model gets them (images are resized by 0.50)' in (
            names['tiny objects'].why
        )


@pytest.mark.parametrize(('width', 'long'), [(49, False), (51, True)])
def test_very_long_boxes(width, long):
    assert ('very long boxes' in found([[20, 15, 20 + width, 20]])) == long


def test_images_without_objects():
    sizes = [(WIDTH, HEIGHT)] * 3
    one = found([PLAIN], images=[1], sizes=sizes)['images without objects']
    assert one.images == [0, 2] and one.why.endswith('background')
    left_out = np.array([True, False, False])
    one = found([PLAIN], images=[1], sizes=sizes, left_out=left_out)['images without objects']
    assert '1 of them are left out of the training' in one.why


def test_images_that_are_turned():
    what = 'images that are turned by EXIF when they are loaded'
    one = found([PLAIN], images=[1], sizes=[(9, 9), (96, 64)], turned=np.array([1, 6]))[what]
    assert one.images == [1] and one.notes == {1: 'orientation 6'}


def test_label_maps():
    pixels = np.array([[99, 1, 0], [1000, 0, 0], [30, 10, 60], [30, 20, 50]])
    none = np.zeros(0, int)
    regions = Regions(np.array([4, 5, 6, 7]), pixels, none, np.zeros((0, 4)), none, {})
    named = {one.what: one for one in suspicious_maps(listing([], sizes=[(9, 9)] * 8), regions)}
    assert named['label maps of a single class'].images == [5]
    assert named['label maps that are mostly ignored'].images == [6]
    assert {one.total for one in named.values()} == {4}


def test_same_images(tmp_path):
    for name, content in dict(a=b'1', b=b'2', c=b'1', d=b'3', e=b'2').items():
        (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / name) for name in 'abcd']
    split = listing([], sizes=[(9, 9)] * 4, files=files)
    (across, within), groups = same_images(split, dict(val=[str(tmp_path / 'e')]))
    assert across.what == 'images of train that are in val too'
    assert across.images == [1] and across.notes[1] == '= e of val'
    assert within.what == 'images that are in train more than once'
    assert within.images == [2] and within.notes[2] == '= a'
    assert sorted(map(sorted, groups)) == [files[:3:2], [files[1], str(tmp_path / 'e')]]
    assert same_images(listing([], sizes=[(9, 9)], files=files[3:]), {}) == ([], [])
