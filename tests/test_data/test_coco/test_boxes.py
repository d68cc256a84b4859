# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/boxes.py: boxes that mean something else are refused, with the reason."""

import coco_files as files
import pytest
from coco_files import told

from mmconvnext.data.coco.boxes import CHECK, DIFFER, LEAVE, Boxes
from mmconvnext.data.ledger import Ledger

LARGE = (640, 480)


def judged(boxes, size=LARGE, areas=None, shapes=None) -> tuple[str, Ledger]:
    """The refusal of boxes in images of this size, and the ledger."""
    found, ledger = Boxes(), Ledger()
    for i, box in enumerate(boxes):
        found.add(box, areas[i] if areas else None, size, i)
        if shapes:
            found.compare(box, shapes[i], i)
    found.judge(ledger)
    assert [r.check for r in ledger.refused] in ([], [CHECK])
    return ledger.refused[0].text if ledger.refused else '', ledger


def bounds(box) -> tuple:
    return (box[0], box[1], box[0] + box[2], box[1] + box[3])


def as_corners(box) -> list:
    return list(bounds(box))


SOUND = [[300, 200, 50, 60], [20, 30, 100, 90], [500, 400, 100, 70], [10, 10, 600, 450]]
CORNERS = [as_corners(box) for box in SOUND]


def test_sound_boxes():
    shapes = [bounds(box) for box in SOUND]
    assert judged(SOUND, shapes=shapes)[0] == judged(SOUND)[0] == ''
    assert judged(SOUND, areas=[b[2] * b[3] for b in SOUND])[0] == ''
    assert judged([]) == ('', Ledger())


def test_corners_differ_from_their_polygons():
    text, _ = judged(CORNERS, shapes=[bounds(box) for box in SOUND])
    assert text.startswith('the 4 boxes are corners [x1, y1, x2, y2] (0, 1, 2), but')
    assert text.endswith('subtract x1 and y1 from the last two numbers of each')


def test_corners_leave_the_image():
    assert judged(CORNERS)[0].startswith('the 4 boxes are corners [x1, y1, x2, y2] (2), but')
    # Within the image they could be sound.
    assert judged([[10, 10, 100, 90], [20, 30, 100, 90]])[0] == ''


def test_corners_by_their_area():
    boxes = [[10, 10, 100, 90], [20, 30, 100, 90], [5, 5, 50, 90]]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    assert judged(boxes, areas=areas)[0].startswith('the 3 boxes are corners [x1, y1, x2, y2], but')
    assert judged(boxes, areas=[w * h for _, _, w, h in boxes])[0] == ''
    assert judged(boxes, areas=[*areas[:1], 9000, 4500])[0] == ''
    # Both factors are negative.
    assert judged([[36, 7, 7, 6]], areas=[29])[0] == ''


def test_the_area_of_a_mask_says_nothing_about_corners(tmp_path):
    found = files.content(1)
    points = [10, 10, 50, 10, 10, 40]
    found['annotations'] = found['annotations'][:1]
    found['annotations'][0].update(bbox=[10, 10, 40, 30], area=600, segmentation=[points])
    assert 40 * 30 != 600 == (40 - 10) * (30 - 10)
    assert files.read(tmp_path, found, masks=False).ledger.refused == []


def test_a_broken_box_among_the_corners():
    boxes = CORNERS * 5 + [[30, 30, 30, 30]]
    assert 'are corners' in judged(boxes)[0]


def test_fractions():
    boxes = [[0.5, 0.4, 0.1, 0.2], [0.1, 0.1, 0.9, 0.9]]
    text, _ = judged(boxes, shapes=[bounds(box) for box in SOUND[:2]])
    assert text.startswith('2 of 2 boxes are at most one pixel large, as if they were fractions')
    assert judged([*boxes, SOUND[0], SOUND[1]])[0] == ''
    assert judged(boxes, size=(1, 1))[0] == ''


def test_percent():
    boxes = [[i, 2 * i, 95 - 3 * i, 95 - 3 * i] for i in range(20)]
    text, _ = judged(boxes)
    assert text.startswith('all 20 boxes lie in the first 100 x 100 pixels of larger images, as if')
    assert judged(boxes[1:])[0] == ''  # too few to be sure
    assert judged(boxes, size=(199, 480))[0] == ''
    assert judged([*boxes, [0, 0, 101, 5]])[0] == ''
    assert judged([[i, i, 20, 20] for i in range(20)])[0] == ''  # objects in a corner


def test_boxes_of_other_images():
    boxes = [[2 * v for v in box] for box in SOUND]
    boxes[1] = [300, 200, 60, 50]
    assert judged(boxes)[0].startswith('3 of 4 boxes leave their image (0, 2, 3); the file belongs')


def test_boxes_a_little_outside_are_sound():
    assert judged([[600, 440, 44, 43], [0, 0, 700, 500]])[0] == ''


def test_most_boxes_differ():
    shapes = [tuple(v + 20 for v in bounds(box)) for box in SOUND]
    text, _ = judged(SOUND[:3], shapes=shapes)
    assert text.startswith('3 of 3 boxes differ from their segmentation (0, 1, 2); a "bbox" is')


def test_few_polygons_say_little_about_many_boxes():
    for count, refused in ((4, True), (5, True), (10, False)):
        found, ledger = Boxes(), Ledger()
        for i in range(count):
            found.add(SOUND[0], None, LARGE, i)
        found.compare(SOUND[0], (0, 0, 9, 9), 0)
        found.judge(ledger)
        assert bool(ledger.refused) == refused and bool(ledger.noted) != refused


def test_single_boxes_that_differ_are_told():
    shapes = [bounds(box) for box in SOUND]
    shapes[1] = (20, 30, 200, 120)
    text, ledger = judged(SOUND, shapes=shapes)
    assert text == '' and told(ledger.noted) == {DIFFER: 1} and ledger.noted[DIFFER].first == [1]


@pytest.mark.parametrize(('shift', 'count'), [(3, 0), (3.1, 1)])
def test_three_pixels_or_a_tenth_are_no_difference(shift, count):
    x1, y1, x2, y2 = bounds([100, 100, 20, 20])
    boxes = [[100, 100, 20, 20], *SOUND]
    shapes = [(x1 + shift, y1, x2, y2), *map(bounds, SOUND)]
    assert told(judged(boxes, shapes=shapes)[1].noted) == ({DIFFER: 1} if count else {})
    shapes[-1] = (10, 10, 610 + 60, 460)  # a tenth of 660
    assert judged(boxes, shapes=shapes)[1].noted.get(DIFFER, None) is None or count


@pytest.mark.parametrize(('masks', 'learnt'), [(True, True), (False, True), (True, False)])
def test_a_file_of_corners_is_refused(tmp_path, masks, learnt):
    found = files.content()
    for entry in found['annotations']:
        entry['bbox'] = as_corners(entry['bbox'])
    sound = files.read(tmp_path, found, masks=masks, learnt=learnt)
    assert [r.check for r in sound.ledger.refused] == ['boxes']
    sound = files.read(tmp_path, found, learnt=False, measured=False)
    assert sound.ledger.refused == []


def test_boxes_from_their_centre_are_told():
    """Those at the right and at the bottom leave the image; no number proves more."""
    centres = [[x + w / 2, y + h / 2, w, h] for x, y, w, h in SOUND]
    text, ledger = judged([*centres, [9, 9, 5, 5]])
    assert text == '' and told(ledger.noted) == {LEAVE: 2} and ledger.noted[LEAVE].first == [2, 3]
    text, ledger = judged([*centres[2:], *SOUND[:2] * 4])  # a fifth
    assert text == '' and ledger.noted == {}


def test_boxes_without_an_extent_are_no_fractions():
    assert judged([[0, 0, 0, 0]] * 4) == ('', Ledger())
    assert judged([[0, 0, 0, 0.5]] * 4)[0].startswith('4 of 4 boxes are at most one pixel large')


# Both sides of each bound


def meaning(boxes, size=LARGE, **more) -> str:
    """What the refusal of boxes says in a word, '' if there is none."""
    text, _ = judged(boxes, size, **more)
    words = ['fractions', 'corners', 'differ', 'leave', 'percent']
    return next((word for word in words if word in text), text)


@pytest.mark.parametrize(
    ('box', 'size', 'expected'),
    [
        ([0, 0, 1, 1], LARGE, 'fractions'),
        ([0, 0, 1.1, 1], LARGE, ''),
        ([0, 0, 1, 1.1], LARGE, ''),
        ([1.1, 0, 1, 1], LARGE, ''),
        ([0, 0, 0, 0.1], LARGE, 'fractions'),
        ([-1, 0, 0.5, 0.5], LARGE, 'fractions'),
        ([0, -1.1, 0.5, 0.5], LARGE, ''),
        ([0, 0, 1, 1], (2, 2), 'fractions'),
        ([0, 0, 1, 1], (1, 480), ''),
        ([0, 0, 1, 1], (640, 1), ''),
        ([0, 0, 1, 1], (0, 480), ''),  # unknown
        ([0, 0, 1, 1], (640, 0), ''),
    ],
)
def test_what_is_a_fraction(box, size, expected):
    assert meaning([box], size) == expected


@pytest.mark.parametrize(
    ('change', 'size', 'expected'),
    [
        ([0, 0, 100, 5], LARGE, 'percent'),
        ([0, 0, 5, 100], LARGE, 'percent'),
        ([0, 0, 5, 101], LARGE, ''),
        ([96, 0, 5, 5], LARGE, ''),
        ([-1, 0, 5, 5], LARGE, ''),
        ([0, 0, 5, 5], (200, 200), 'percent'),
        ([0, 0, 5, 5], (480, 199), ''),
    ],
)
def test_what_may_be_percent(change, size, expected):
    boxes = [[0, 0, 95, 95], *[[i, i, 9, 20] for i in range(18)], change]
    assert meaning(boxes, size) == expected


@pytest.mark.parametrize(
    ('right', 'low', 'expected'),
    [(91, 91, 'percent'), (90, 91, ''), (91, 90, ''), (20, 95, ''), (95, 20, '')],
)
def test_percent_reach_both_borders(right, low, expected):
    boxes = [[0, 0, 5, 5]] * 18 + [[0, 0, right, 5], [0, 0, 5, low]]
    assert meaning(boxes) == expected


@pytest.mark.parametrize(
    ('box', 'leaves'),
    [
        ([623, 10, 20, 5], False),
        ([623.5, 10, 20, 5], True),
        ([10, 463, 5, 20], False),
        ([10, 463.5, 5, 20], True),
        ([280, 10, 400, 300], False),  # a tenth of its width
        ([281, 10, 400, 300], True),
        ([10, 210, 300, 300], False),
        ([10, 211, 300, 300], True),
    ],
)
def test_three_pixels_or_a_tenth_are_in_the_image(box, leaves):
    assert (meaning([box]) in ('leave', 'corners')) is leaves


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ([300, 200, 641, 400], 'corners'),
        ([300, 200, 642, 400], 'leave'),
        ([300, 200, 500, 481], 'corners'),
        ([300, 200, 500, 482], 'leave'),
        ([500, 200, 500, 400], 'leave'),  # no width
        ([400, 300, 500, 300], 'leave'),
        ([400, 300, 500, 299], 'leave'),
    ],
)
def test_what_may_be_corners(box, expected):
    assert meaning([box]) == expected


@pytest.mark.parametrize(('corners', 'expected'), [(9, 'leave'), (10, 'corners')])
def test_nearly_all_may_be_corners(corners, expected):
    boxes = [[500, 400, 600, 470]] * corners + [[30, 30, 30, 30]]
    assert meaning(boxes) == expected


@pytest.mark.parametrize(('leaving', 'expected'), [(1, ''), (2, 'corners')])
def test_a_fifth_of_the_boxes_may_leave_the_image(leaving, expected):
    boxes = [[500, 400, 600, 470]] * leaving + [[10, 10, 100, 90]] * (5 - leaving)
    assert meaning(boxes) == expected and judged(boxes)[1].noted == {}


@pytest.mark.parametrize(('leaving', 'expected'), [(2, ''), (3, 'leave')])
def test_half_of_the_boxes_may_leave_the_image(leaving, expected):
    boxes = [[600, 9, 60, 5]] * leaving + [[9, 9, 5, 5]] * (4 - leaving)
    assert meaning(boxes) == expected
    assert told(judged(boxes)[1].noted) == ({} if expected else {LEAVE: 2})


@pytest.mark.parametrize('side', range(4))
@pytest.mark.parametrize('sign', [1, -1])
def test_each_side_is_compared(side, sign):
    box = [100, 100, 20, 25]
    for shift, differs in ((3, False), (3.5, True)):
        shape = list(bounds(box))
        shape[side] += sign * shift
        assert meaning([box], shapes=[shape]) == ('differ' if differs else '')


@pytest.mark.parametrize(('shift', 'expected'), [(30, ''), (30.5, 'differ')])
def test_a_tenth_of_the_longer_side_is_no_difference(shift, expected):
    for shape in ((100, 100, 110, 400), (100, 100, 400, 110)):
        box = [100 + shift, 100, shape[2] - 100, shape[3] - 100]
        assert meaning([box], (900, 900), shapes=[shape]) == expected


@pytest.mark.parametrize('side', range(4))
@pytest.mark.parametrize('sign', [1, -1])
def test_corners_of_a_shape_may_be_wrong_by_a_tenth(side, sign):
    shape = (300, 200, 350, 260)
    for shift, expected in ((6, 'corners'), (6.5, 'differ')):
        box = list(shape)
        box[side] += sign * shift
        assert meaning([box], (2000, 2000), shapes=[shape]) == expected


@pytest.mark.parametrize(('count', 'refused'), [(2, False), (3, True)])
@pytest.mark.parametrize('corners', [True, False])
def test_half_of_the_boxes_may_differ(count, refused, corners):
    shape = (10, 20, 40, 80)
    wrong = as_corners([10, 20, 30, 60]) if corners else [50, 20, 30, 60]
    boxes = [wrong] * count + [[10, 20, 30, 60]] * (4 - count)
    text, ledger = judged(boxes, shapes=[shape] * 4)
    assert bool(text) == refused and ('are corners' in text) == (refused and corners)
    assert told(ledger.noted) == ({} if refused else {DIFFER: 2})


@pytest.mark.parametrize(
    ('box', 'area', 'expected'),
    [
        ([10, 10, 60, 60], 50 * 50, 'corners'),
        ([10, 10, 60, 60], 2520, 'corners'),  # 0.8 %
        ([10, 10, 60, 60], 2530, ''),  # 1.2 %
        ([10, 10, 60, 60], 2480, 'corners'),
        ([10, 10, 60, 60], 2470, ''),
        ([10, 10, 60, 60], 60 * 60, ''),
        ([10, 10, 60, 60], 0, ''),
        ([10, 10, 60, 60], None, ''),
        ([0.2, 0.2, 100, 100], 9980, ''),  # both could be meant
        ([70, 10, 60, 60], 500, ''),  # 10 * 50, but drawn backwards
        ([10, 70, 60, 60], 500, ''),
    ],
)
def test_what_the_area_says(box, area, expected):
    assert meaning([box], (900, 900), areas=[area]) == expected


@pytest.mark.parametrize(('count', 'expected'), [(2, ''), (3, 'corners')])
def test_half_of_the_areas_may_be_those_of_corners(count, expected):
    boxes, areas = [[10, 10, 60, 60]] * 4, [2500] * count + [3600] * (4 - count)
    assert meaning(boxes, (900, 900), areas=areas) == expected
    assert meaning(boxes, (0, 0), areas=areas) == expected  # of unknown images too
