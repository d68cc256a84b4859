# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Toy scenes: seeded, fully labeled, and with shapes that are what their labels say."""

import colorsys
from pathlib import Path

import numpy as np
import pytest

from mmconvnext.toy import CLASSES, PALETTE, VERSION, make_scene, shapes

SIZE = 96
RECORD = Path(__file__).resolve().parents[1] / 'data/toy_scenes.txt'
ARRAYS = ('image', 'instance_masks', 'labels', 'semantic', 'crowd')


@pytest.fixture(scope='module')
def scenes() -> list:
    return [make_scene((0, 0, index), SIZE, crowd=index % 4 == 0) for index in range(40)]


@pytest.mark.parametrize('crowd', [False, True])
def test_same_seed_same_scene(crowd):
    one, two = (make_scene(5, 64, crowd) for _ in range(2))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize('other', [6, (5, 1), (1, 5)])
def test_other_seed_other_scene(other):
    one, two = make_scene(5, 64), make_scene(other, 64)
    assert np.mean(one.image != two.image) > 0.9
    assert not np.array_equal(one.semantic, two.semantic)


def record(scene) -> list:
    """The labels as a text, then figures of masks and picture."""
    image = scene.image.astype(float)
    numbers = np.arange(1, len(scene.labels) + 1)[:, None, None]
    figures = [
        (numbers * scene.instance_masks).sum(),
        *image.mean(axis=(0, 1)),
        np.abs(np.diff(image, axis=1)).mean(),
        *image[: SIZE // 2, : SIZE // 2].mean(axis=(0, 1)),
    ]
    return [''.join(map(str, scene.labels)), *figures]


def test_scenes_are_those_of_the_version(scenes):
    """If they change, users who have the old data must be told: raise VERSION.

    Then run this file, which records the new ones. A pixel may differ with NumPy and Pillow.
    """
    assert VERSION == 1
    rows = [line.split() for line in RECORD.read_text().splitlines() if line[0] != '#']
    assert len(rows) == len(scenes)
    for row, scene in zip(rows, scenes):
        labels, owners, *figures = record(scene)
        assert labels == row[0]
        assert owners == pytest.approx(float(row[1]), abs=20)
        assert figures == pytest.approx([*map(float, row[2:])], abs=0.3)


def test_classes_have_their_shapes_and_colours(scenes):
    assert [(shape.name, shape.corners) for shape in shapes.SHAPES if shape.name != 'disc'] == [
        ('square', 4),
        ('triangle', 3),
        ('star', 5),
    ]
    for shape in shapes.SHAPES:  # labels are drawn in the colour of most objects
        hue = colorsys.rgb_to_hsv(*(level / 255 for level in shape.colour))[0]
        assert abs((hue - shape.hue + 0.5) % 1 - 0.5) < 0.05
    leaning = []
    for scene in scenes:
        for mask, label in zip(scene.instance_masks, scene.labels):
            red, green, blue = scene.image[mask].mean(axis=0) / 255
            hue = colorsys.rgb_to_hsv(red, green, blue)[0]
            leaning.append(abs((hue - shapes.SHAPES[label].hue + 0.5) % 1 - 0.5) < 0.12)
    assert np.mean(leaning) > 0.9


def test_a_region_of_a_crowd_is_near_its_centre_and_of_one_class(scenes):
    for scene in scenes[::4]:
        y, x = np.nonzero(scene.instance_masks[0])
        assert np.ptp(y) < 0.6 * SIZE and np.ptp(x) < 0.6 * SIZE


def test_shapes_and_types():
    scene = make_scene(3, (64, 100))
    count = len(scene.labels)
    assert (scene.image.shape, scene.image.dtype) == ((64, 100, 3), np.uint8)
    assert (scene.instance_masks.shape, scene.instance_masks.dtype) == ((count, 64, 100), bool)
    assert (scene.semantic.shape, scene.semantic.dtype) == ((64, 100), np.uint8)
    assert (scene.labels.dtype, scene.crowd.dtype, scene.crowd.shape) == (np.int64, bool, (count,))


def test_masks_are_disjoint_and_visible(scenes):
    for scene in scenes:
        assert scene.instance_masks.sum(axis=0).max() == 1
        assert scene.instance_masks.sum(axis=(1, 2)).min() >= 40


def test_semantic_map_is_the_union_of_masks(scenes):
    for scene in scenes:
        expected = np.zeros((SIZE, SIZE), dtype=np.uint8)
        for mask, label in zip(scene.instance_masks, scene.labels):
            expected[mask] = label + 1
        np.testing.assert_array_equal(scene.semantic, expected)


def test_counts_crowds_and_classes(scenes):
    for index, scene in enumerate(scenes):
        assert scene.crowd.tolist() == [index % 4 == 0 and k == 0 for k in range(len(scene.crowd))]
        assert 3 <= np.sum(~scene.crowd) <= 7
    assert len({np.sum(~scene.crowd) for scene in scenes}) >= 4
    labels = np.concatenate([scene.labels for scene in scenes])
    assert np.bincount(labels, minlength=4).min() > 0.1 * len(labels)
    assert len(CLASSES) == len(PALETTE) == 4


def test_objects_hide_others_and_scales_differ(scenes):
    areas = np.concatenate([s.instance_masks[~s.crowd].sum(axis=(1, 2)) for s in scenes])
    assert areas.max() > 15 * areas.min()
    touching = 0  # scenes where objects of two classes meet in a row of pixels
    for scene in scenes:
        left, right = scene.semantic[:, :-1], scene.semantic[:, 1:]
        touching += np.any((left != right) & (left > 0) & (right > 0))
    assert touching > len(scenes) / 4


def look_of(mask: np.ndarray) -> int:
    """The label a mask looks like, by how often its radius swings within a turn."""
    y, x = np.nonzero(mask)
    dy, dx = y - y.mean(), x - x.mean()
    sector = ((np.arctan2(dy, dx) / (2 * np.pi) + 0.5) * 30).astype(int) % 30
    radii = np.array([np.hypot(dy, dx)[sector == i].max(initial=0) for i in range(30)])
    swings = np.abs(np.fft.rfft(radii)[[3, 4, 5]]) / radii.sum()
    return 0 if swings.max() < 0.025 else [2, 1, 3][swings.argmax()]


def test_labels_tell_the_shape():
    found, right = np.zeros(4, dtype=int), 0
    for seed in range(60):
        scene = make_scene(seed, 128)
        for mask, label in zip(scene.instance_masks, scene.labels):
            frame = np.pad(mask, 1)
            around = [np.roll(frame, shift, axis) for shift in (1, -1) for axis in (0, 1)]
            around = np.any(around, axis=0)
            inside = not mask[[0, -1]].any() and not mask[:, [0, -1]].any()
            alone = not scene.semantic[around[1:-1, 1:-1] & ~mask].any()
            if inside and alone and mask.sum() > 150:
                found[label] += 1
                right += look_of(mask) == label
    assert found.min() >= 10
    assert right > 0.95 * found.sum()


def test_borders_in_the_picture_are_those_of_the_masks():
    """Also where objects overlap: what is in front in the masks is painted in front."""
    steps = {'ground': [], 'objects': [], 'inside': []}  # of colour, between neighbours in a row
    for seed in range(60):
        scene = make_scene(seed, SIZE)
        owner = (np.arange(1, len(scene.labels) + 1)[:, None, None] * scene.instance_masks).sum(0)
        left, right = owner[:, :-1], owner[:, 1:]
        # Over three pixels, as the blur spreads a border that far.
        step = np.abs(np.diff(scene.image.astype(float), axis=1)).sum(axis=2)
        step = np.maximum(step, np.maximum(np.roll(step, 1, 1), np.roll(step, -1, 1)))
        steps['ground'].append(step[(left != right) & (left * right == 0)])
        steps['objects'].append(step[(left != right) & (left * right > 0)])
        steps['inside'].append(step[left == right])
    ground, objects, inside = (np.median(np.concatenate(steps[name])) for name in steps)
    assert min(ground, objects) > 2 * inside


@pytest.mark.parametrize('size', [63, (64, 20), (63, 64)])
def test_small_size_is_refused(size):
    with pytest.raises(ValueError, match='at least 64 pixels, got .*(63|20)'):
        make_scene(0, size)


def test_defaults():
    scene = make_scene(0)
    assert scene.image.shape == (192, 192, 3) and not scene.crowd.any()


def test_smallest_size_works():
    for seed in range(20):
        scene = make_scene(seed, 64, crowd=True)
        assert scene.crowd[0] and scene.instance_masks.sum(axis=(1, 2)).min() >= 40
        assert make_scene(seed, 64).instance_masks.sum(axis=(1, 2)).min() >= 40
    assert make_scene(103, 64).instance_masks.sum(axis=(1, 2)).min() == 40  # both sides of it


def test_a_new_shape_is_a_row(monkeypatch):
    hexagon = shapes.ShapeClass('hexagon', (0, 0, 0), hue=0.8, corners=6, waist=0.75**0.5)
    before = make_scene(3, SIZE)
    monkeypatch.setattr(shapes, 'SHAPES', (hexagon,))
    scene = make_scene(3, SIZE)
    assert set(scene.labels.tolist()) == {0} and len(scene.labels) >= 3
    assert not np.array_equal(scene.image, before.image)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    upright = shapes._Shape(0, SIZE / 2, SIZE / 2, radius=40, angle=0, aspect=1)
    area = (upright.depth(x, y) > 0).sum()
    assert area == pytest.approx(3 * 3**0.5 / 2 * 40**2, rel=0.01)  # of a regular hexagon


if __name__ == '__main__':
    head = [line for line in RECORD.read_text().splitlines() if line[0] == '#']
    new = [record(make_scene((0, 0, i), SIZE, crowd=i % 4 == 0)) for i in range(40)]
    lines = [' '.join([labels, *(f'{n:.2f}' for n in figures)]) for labels, *figures in new]
    RECORD.write_text('\n'.join([*head, *lines]) + '\n')
