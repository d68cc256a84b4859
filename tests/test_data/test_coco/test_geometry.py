# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/geometry.py: polygons are brought into COCO's form, or it is said what they lack."""

import coco_files as files
import numpy as np
import pytest
from pycocotools import mask as rle_api

from mmconvnext.data.coco import geometry, run_lengths
from mmconvnext.data.coco.geometry import (
    Shape,
    area_of,
    box_of,
    four_numbers,
    mask_of_box,
    read_shape,
    rectangle,
    turned,
    turned_box,
)

FIVE = [8, 3, 28, 3, 28, 18.5, 13, 34, 8, 13.5]
POINTS = [[8, 3], [28, 3], [28, 18.5], [13, 34], [8, 13.5]]
OTHER = [50, 10, 60, 10, 60, 30]
LINE = [1, 2, 3, 4]
FRACTIONS = 'polygons that are at most one pixel large, as if they were fractions of the image'


@pytest.mark.parametrize(
    ('value', 'expected', 'mended'),
    [
        ([FIVE], [FIVE], ()),
        ([FIVE, OTHER], [FIVE, OTHER], ()),
        (FIVE, [FIVE], (geometry.FLAT,)),
        (POINTS, [FIVE], (geometry.NESTED,)),
        ([POINTS], [FIVE], (geometry.NESTED,)),
        ([dict(x=x, y=y) for x, y in POINTS], [FIVE], (geometry.NESTED,)),
        ([[dict(x=x, y=y, z=7) for x, y in POINTS]], [FIVE], (geometry.NESTED,)),
        ([FIVE, [[*point, 7] for point in POINTS[:4]]], [FIVE], (geometry.SHORT,)),
        ([[str(v) for v in FIVE]], [FIVE], (geometry.STRINGS,)),
        ([str(v) for v in FIVE], [FIVE], (geometry.FLAT, geometry.STRINGS)),
        ([FIVE, LINE], [FIVE], (geometry.SHORT,)),
        ([[], FIVE, FIVE[:-1], None, OTHER], [FIVE, OTHER], (geometry.SHORT,)),
        ([FIVE, [0, 0, 1, 1, 2, 2]], [FIVE], (geometry.SHORT,)),
        ([FIVE, [1, 1, 1, 1, 1, 1]], [FIVE], (geometry.SHORT,)),
        ([FIVE, [float('nan')] * 6], [FIVE], (geometry.SHORT,)),
        ([FIVE, [10**400] * 6], [FIVE], (geometry.SHORT,)),
    ],
)
def test_polygons(value, expected, mended):
    shape = read_shape(value, 96, 64)
    assert shape.value == expected and shape.mended == mended
    assert (shape.value is value) == (not mended)
    x2 = 60 if OTHER in expected else 28
    assert shape.bounds == (8, 3, x2, 34)


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (None, 'empty segmentations'),
        ([], 'empty segmentations'),
        ([[]], 'empty segmentations'),
        ({}, 'empty segmentations'),
        ('', 'empty segmentations'),
        ('x', 'segmentations that are str'),
        (7, 'segmentations that are int'),
        ([LINE], 'polygons without three points and an area'),
        ([[[x, y, 7] for x, y in POINTS[:4]]], 'polygons that are no lists of numbers'),
        ([dict(a=1)], 'polygons that are no lists of numbers'),
        ([['x', 'y']], 'polygons that are no lists of numbers'),
        ([FIVE[:-1]], 'polygons without three points and an area'),
        ([[[8, 3, 0], [28, 3, 0], [28, 18.5, 0]]], 'polygons that are no lists of numbers'),
        ([[[8, 3], None, [28, 3], [28, 18.5]]], 'polygons that are no lists of numbers'),
        ([[[POINTS]]], 'polygons that are no lists of numbers'),
        ([['x']], 'polygons that are no lists of numbers'),
        ([[0, 0, 1, 1, 2, 2]], 'polygons without three points and an area'),
        ([0, 0, 1, 1, 1, 1, 0, 0], 'polygons without three points and an area'),
        ([[v / 96 for v in FIVE]], FRACTIONS),
        ([[0, 0, 1, 0, 1, 1, 0, 1]], FRACTIONS),
        ([[1e12, 0, 1e12, 9, 0, 9]], 'polygons far outside the image'),
        ([[-5000, 0, 5, 9, 0, 9]], 'polygons far outside the image'),
        ([[3.1, 3.1, 3.2, 3.1, 3.2, 9]], 'polygons that cover no pixel'),
    ],
)
def test_what_is_no_mask(value, reason):
    assert read_shape(value, 96, 64) == reason


def test_thin_polygons_that_cover_a_pixel_stay():
    assert read_shape([[3, 3, 4, 3, 4, 9, 3, 9]], 96, 64).bounds == (3, 3, 4, 9)


def test_of_an_image_of_unknown_size():
    assert read_shape([[1e12, 0, 1e12, 9, 0, 9]], 0, 0).bounds[2] == 1e12
    assert read_shape(dict(size=[2, 3], counts=[1, 2, 3]), 0, 0).bounds == (0, 0, 2, 2)


def drawn(mask) -> dict:
    rle = rle_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=rle['size'], counts=rle['counts'].decode())


def test_run_lengths_in_a_list_become_one_mask():
    left, right = np.zeros((2, 64, 96), bool)
    left[3:9, 2:12], right[5:20, 50:60] = True, True
    shape = read_shape([drawn(left), drawn(right)], 96, 64)
    assert shape.mended == (geometry.LISTED,) and shape.bounds == (2, 3, 60, 20)
    assert (rle_api.decode(shape.value) == (left | right)).all()
    assert 'counts' in read_shape([drawn(left), dict(size=[64, 96])], 96, 64)
    other = dict(size=[2, 3], counts=[1, 2, 3])
    assert read_shape([drawn(left), other], 0, 0) == 'run lengths of different sizes'
    # A mask beside polygons: no form of COCO's.
    assert read_shape([FIVE, drawn(left)], 96, 64).mended == (geometry.SHORT,)


def test_areas():
    assert area_of(Shape([FIVE], (0, 0, 0, 0))) == files.area(FIVE) == 452.5
    assert area_of(Shape([FIVE[::-1], OTHER], (0, 0, 0, 0))) == pytest.approx(552.5)
    assert area_of(Shape(dict(size=[2, 3], counts=[1, 2, 3]), (0, 0, 2, 2))) == 2


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ([1, 2.5, 3, 4], [1, 2.5, 3, 4]),
        (['1', ' 2.5 ', 3, 4], [1, 2.5, 3, 4]),
        ([1, 2, 3], None),
        ([1, 2, 3, 4, 5], None),
        ([1, 2, 3, None], None),
        ([1, 2, 3, True], None),
        ([1, 2, 3, float('inf')], None),
        ([1, 2, 3, 10**400], None),
        ('1234', None),
        (None, None),
    ],
)
def test_four_numbers(value, expected):
    assert four_numbers(value) == expected


def test_sound_numbers_are_the_same_list():
    value = [1, 2.5, 3, 4]
    assert four_numbers(value) is value


def test_boxes_and_their_masks():
    assert box_of(read_shape([FIVE], 96, 64)) == [8, 3, 20, 31]
    assert rectangle([1, 2, 3, 5]) == [[1, 2, 4, 2, 4, 7, 1, 7]]
    mask = rle_api.decode(mask_of_box([8, 3, 20, 31], 96, 64))
    assert mask.shape == (64, 96) and mask[3:34, 8:28].all() and mask.sum() == 620


def test_turned_polygons_and_masks():
    mask = np.zeros((64, 96), np.uint8)
    mask[3:34, 8:28], mask[10, 60] = 1, 1

    def right(x, y):  # orientation 6: the upper left corner goes to the upper right one
        return 64 - y, x

    shape = turned(Shape([FIVE], (8, 3, 28, 34), ('x',)), right, 96, 64)
    assert shape.bounds == (30, 8, 61, 28) and shape.mended == ('x',)
    assert shape.value[0][:4] == [61, 8, 61, 28]
    shape = turned(read_shape(drawn(mask), 96, 64), right, 96, 64)
    assert shape.value['size'] == [96, 64]
    assert (rle_api.decode(shape.value) == np.rot90(mask, -1)).all()
    assert shape.bounds == (30, 8, 61, 61)
    assert turned_box([8, 3, 20, 31], right) == [30, 8, 31, 20]


def test_reach_of_polygons_before_that_of_boxes():
    entries = [
        dict(image_id='7', bbox=[0, 0, 90, 4], segmentation=[[0, 0, 50, 0, 50, 30]]),
        dict(image_id=7.0, bbox=[10, 20, 30, 40]),
        dict(image_id=8, segmentation=dict(size=[1, 2], counts=[0, 2])),
        dict(image_id=None, bbox=[0, 0, 1, 1]),
        'x',
    ]
    assert geometry.reaches(entries) == {7: (50, 60)}


# Both sides of each bound


@pytest.mark.parametrize(
    'points',
    [
        [-960, 0, 5, 9, 0, 9],
        [0, 0, 960, 9, 0, 9],
        [0, -960, 9, 5, 9, 0],
        [0, 0, 9, 960, 9, 0],
    ],
)
def test_polygons_may_reach_ten_sides_of_the_image(points):
    value, far = [points], [[v + (v == 960) - (v == -960) for v in points]]
    for size in ((96, 64), (64, 96)):
        assert isinstance(read_shape(value, *size), Shape)
        assert read_shape(far, *size) == 'polygons far outside the image'
    for size in ((0, 0), (96, 0), (0, 64)):  # unknown
        assert isinstance(read_shape(far, *size), Shape)


@pytest.mark.parametrize(
    ('points', 'reason'),
    [
        ([0, 0, 1, 0, 1, 1, 0, 1], FRACTIONS),
        ([0, 0, 1.5, 0, 1.5, 1, 0, 1], None),
        ([0, 0, 1, 0, 1, 1.5, 0, 1.5], None),
        ([-9, -9, 1, 0, 1, 1, 0, 1], FRACTIONS),
        ([3.1, 3.1, 9, 3.1, 9, 3.2], 'polygons that cover no pixel'),
        ([3.1, 3.1, 3.1, 9, 3.2, 9], 'polygons that cover no pixel'),
        ([3, 3, 9, 3, 9, 4, 3, 4], None),
        ([200, 3, 201, 3, 201, 9, 200, 9], 'polygons that cover no pixel'),
    ],
)
def test_how_small_a_polygon_may_be(points, reason):
    found = read_shape([points], 96, 64)
    assert found == reason if reason else found.value == [points]


@pytest.mark.parametrize(
    ('points', 'sound'),
    [
        ([0, 0, 9, 0, 0, 9], True),
        ([0, 0, 9, 0], False),
        ([0, 0, 9, 0, 0, 9, 5], False),
        ([0, 0, 0, 0, 9, 0, 0, 9], True),
        ([0, 0, 4, 4, 9, 9, 0, 9], True),
        ([0, 0, 4, 4, 9, 9, 2, 2], False),
        ([3, 3, 3, 5, 3, 9], False),
        ([3, 3, 5, 3, 9, 3], False),
        ([9, 0, 4, 5, 0, 9], False),
        ([9, 0, 4, 5, 0, 10], True),
        ([1, 2, 3, 6, 4, 8], False),
        ([1, 2, 3, 6, 4, 9], True),
        ([0, 0, 9, 0, float('inf'), 9], False),
    ],
)
def test_a_polygon_has_three_points_that_are_not_on_a_line(points, sound):
    found = read_shape([points], 96, 64)
    assert isinstance(found, Shape) if sound else found.startswith('polygons without three points')


@pytest.mark.parametrize(
    ('value', 'mended'),
    [
        ([POINTS, POINTS], (geometry.NESTED,)),
        ([[str(v) for v in FIVE]] * 2, (geometry.STRINGS,)),
        ([[[str(x), str(y)] for x, y in POINTS]] * 2, (geometry.NESTED, geometry.STRINGS)),
        ([FIVE, POINTS], (geometry.NESTED,)),
        ([FIVE, ['x'] * 6, FIVE], (geometry.SHORT,)),
        ([FIVE, [str(v) for v in FIVE]], (geometry.STRINGS,)),
    ],
)
def test_what_is_mended_in_several_parts_is_told_once(value, mended):
    shape = read_shape(value, 96, 64)
    assert shape.value == [FIVE, FIVE] and shape.mended == mended


def test_three_points_are_a_polygon_and_two_are_none():
    triangle = [[8, 3], [28, 3], [28, 18.5]]
    assert read_shape(triangle, 96, 64).value == [[8, 3, 28, 3, 28, 18.5]]
    assert read_shape(triangle[:2], 96, 64) == 'polygons without three points and an area'
    points = [dict(x=1)] + [dict(x=x, y=y) for x, y in triangle]
    assert isinstance(read_shape(points, 96, 64), str)


def test_run_lengths_in_a_list_tell_what_was_mended_once():
    left = np.zeros((64, 96), bool)
    left[3:9, 2:12] = True
    rle = drawn(left)
    odd = dict(size=['64', '96'], counts=str(rle['counts'].encode()))
    shape = read_shape([odd, odd], 96, 64)
    assert shape.mended == (geometry.LISTED, run_lengths.COUNTS, run_lengths.SIZES)
    assert shape.value == rle and shape.bounds == (2, 3, 12, 9)
    assert read_shape(odd, 96, 64).mended == (run_lengths.COUNTS, run_lengths.SIZES)
    reason = 'run lengths without "size" and "counts"'
    assert read_shape([dict(size=[64, 96]), rle], 96, 64) == reason


@pytest.mark.parametrize('upper', [(30, 8), (3, 40)])
def test_bounds_of_masks_in_a_list_are_those_of_all(upper):
    first, second = np.zeros((2, 64, 96), bool)
    first[20:30, 40:50], second[upper[1] : upper[1] + 5, upper[0] : upper[0] + 7] = True, True
    both = np.nonzero(first | second)
    for masks in ([first, second], [second, first]):
        bounds = read_shape([drawn(mask) for mask in masks], 96, 64).bounds
        ys, xs = both
        assert bounds == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@pytest.mark.parametrize(
    ('entries', 'expected'),
    [
        ([dict(image_id=7, bbox=[10, 20, 30, 45])], {7: (40, 65)}),
        ([dict(image_id=7, bbox=[-10, -20, 3, 4])], {7: (0, 0)}),
        ([dict(image_id=7, bbox=[1, 2, 3])], {}),
        ([dict(image_id=7, bbox=[1, 2, 3, 5], segmentation=[[1, 2]])], {7: (4, 7)}),
        ([dict(image_id=7, segmentation=[[0, 0, 50, 0, 50, 30]])], {7: (50, 30)}),
        (
            [dict(image_id=7, bbox=[0, 0, 9, 8]), dict(image_id=7, bbox=[0, 0, 7, 11])],
            {7: (9, 11)},
        ),
        (['x', dict(image_id=7), dict(bbox=[1, 1, 1, 1])], {}),
        (
            ['x', dict(image_id=8), dict(bbox=[1, 1, 1, 1]), dict(image_id='9', bbox=[1, 2, 3, 5])],
            {9: (4, 7)},
        ),
    ],
)
def test_reach(entries, expected):
    assert geometry.reaches(entries) == expected


def test_the_rectangle_of_a_mask_is_whole():
    mask = rle_api.decode(mask_of_box([0, 0, 96, 64], 96, 64))
    assert mask.shape == (64, 96) and mask.all()


def test_areas_of_masks_are_floats():
    """JSON shows them as those of polygons."""
    assert type(area_of(Shape(dict(size=[2, 3], counts=[1, 2, 3]), (0, 0, 2, 2)))) is float
