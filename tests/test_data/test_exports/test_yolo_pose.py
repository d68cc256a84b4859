# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/yolo_pose.py: keypoints are recognised by the numbers, or the user is asked."""

import pytest
from export_files import objects, ready, yolo

from mmconvnext.data.exports.folder import SourceError
from mmconvnext.data.exports.yolo_pose import NEAR, SHARE, found_pose, listed_pose

NAMES = 'names: [cat, dog]\n'


def row(x=0.3, y=0.6, w=0.2, h=0.1, points=((0.25, 0.62), (0.35, 0.57)), seen=(2, 1)):
    """A class, a box, and points in it; ``seen`` () for none."""
    marks = [(v,) for v in seen] or [()] * len(points)
    return [1, x, y, w, h, *(v for p, m in zip(points, marks) for v in (*p, *m))]


def line(*args, **options):
    return ' '.join(map(str, row(*args, **options))) + '\n'


@pytest.mark.parametrize(
    ('shape', 'numbers'),
    [(['17', '3'], 51), (['2', '2'], 4), (['0', '2'], 0), (['17', '2'], 34), ('', None)],
)
def test_what_the_table_says(shape, numbers):
    assert listed_pose(dict(kpt_shape=shape)) == numbers
    assert listed_pose({}) is None


@pytest.mark.parametrize(
    'shape', ['17', ['17'], ['17', '4'], ['a', '3'], ['-1', '3'], ['1.5', '2']]
)
def test_what_it_cannot_say(shape):
    with pytest.raises(SourceError, match=r'has kpt_shape: .*; write \[17, 3\] for 17 points'):
        listed_pose(dict(kpt_shape=shape))


def test_visibilities_are_sure(tmp_path):
    root = yolo(
        tmp_path / 'a', {'1.png': line() + line(x=0.31, seen=(0, 2)), '2.png': line()}, NAMES
    )
    facts, out = ready(root)
    assert objects(out)['2.png'] == [('dog', (12.8, 26.4, 12.8, 4.8), None)]
    assert facts['masks'] == 0 and facts['noted']['lines with keypoints, which are left out']
    (note,) = [note for note in facts['notes'] if 'kpt_shape' in note]
    assert note.startswith('all 3 lines hold a box and 2 keypoints')
    assert note.endswith('the data.yaml lacks kpt_shape: [2, 3]')


def test_an_odd_number_of_points(tmp_path):
    """Which looks like a polygon with a confidence."""
    lines = line(points=((0.25, 0.62),), seen=(2,)) * 2
    assert ready(yolo(tmp_path / 'a', {'1.png': lines, '2.png': lines}, NAMES))[0]['masks'] == 0


def test_points_that_are_not_labelled_lie_anywhere():
    points = ((0.25, 0.62), (0, 0))
    assert found_pose([row(points=points, seen=(2, 0))] * 3)[0] == 6
    with pytest.raises(SourceError, match=r'kpt_shape: \[2, 2\] into'):
        found_pose([row(points=points, seen=())] * 3)


@pytest.mark.parametrize(
    ('rows', 'shapes'),
    [
        ([row(seen=())] * 3, r'\[2, 2\]'),  # or quadrangles
        ([row(points=((0.9, 0.9), (0.8, 0.9)))] * 3, r'\[2, 3\]'),  # visible, but far away
        ([row(points=((0.25, 0.62), (0.3, 0.6)) * 3, seen=())] * 3, r'\[4, 3\] or .*\[6, 2\]'),
    ],
)
def test_what_may_be_either_is_refused(rows, shapes):
    if '4, 3' in shapes:  # x of a point would be a visibility, but all fits as pairs and as triples
        rows = [[1, 0.5, 0.5, 0.9, 0.9, *[0.5] * 12]] * 3
    with pytest.raises(SourceError, match=rf'write kpt_shape: {shapes} into the data.yaml for'):
        found_pose(rows)


def test_the_way_out_for_polygons(tmp_path):
    lines = line(seen=())
    root = yolo(tmp_path / 'a', {'1.png': lines, '2.png': lines}, NAMES)
    with pytest.raises(SourceError, match=r'all 2 lines hold 9 numbers.*\[0, 2\] for polygons'):
        ready(root)
    (root / 'data.yaml').write_text(NAMES + 'kpt_shape: [0, 2]\n')
    assert ready(root)[0]['masks'] == 2
    (root / 'data.yaml').write_text(NAMES + 'kpt_shape: [2, 2]\n')
    assert ready(root, out='b')[0]['masks'] == 0


POLYGON = [0, 0.7, 0.7, 0.9, 0.7, 0.9, 0.9, 0.7, 0.9]  # as a box, it leaves the image


@pytest.mark.parametrize(
    'rows',
    [
        [],
        [POLYGON] * 3,
        [row(seen=()), row(seen=(), points=((0.3, 0.6),))],  # other numbers of numbers
        [row(points=())] * 3,  # boxes
        [row(w=0, seen=())] * 3,
    ],
)
def test_what_is_no_pose(rows):
    assert found_pose(rows) == (0, '')


def test_bounds():
    def is_pose(**options):
        try:
            return bool(found_pose([row(seen=(), **options)])[0])
        except SourceError:
            return True

    for point in ((0.2 - NEAR + 1e-6, 0.6), (0.4 + NEAR - 1e-6, 0.6), (0.3, 0.65 + NEAR - 1e-6)):
        assert is_pose(points=(point,))
    for point in ((0.2 - NEAR - 1e-6, 0.6), (0.4 + NEAR + 1e-6, 0.6), (0.3, 0.55 - NEAR - 1e-6)):
        assert not is_pose(points=(point,))
    inside = dict(points=((0.3, 0.6),))
    assert is_pose(x=0.1 - NEAR + 1e-6, points=((0.1, 0.6),))
    assert not is_pose(x=0.1 - NEAR - 1e-6, points=((0.1, 0.6),))
    assert is_pose(y=0.95 + NEAR - 1e-6, points=((0.3, 0.95),))
    assert not is_pose(y=0.95 + NEAR + 1e-6, points=((0.3, 0.95),))
    assert is_pose(**inside)


def test_a_few_lines_may_differ():
    few = round(10 * (1 - SHARE))
    with pytest.raises(SourceError, match='may be a class, a box'):
        found_pose([row(seen=())] * (10 - few) + [POLYGON] * few)
    assert found_pose([row(seen=())] * (9 - few) + [POLYGON] * (few + 1)) == (0, '')
