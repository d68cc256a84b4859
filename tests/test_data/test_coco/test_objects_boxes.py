# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/objects.py: which box an object gets, and where it is cut."""

import coco_files as files
import pytest
from coco_files import OBJECTS, told

from mmconvnext.data.coco import boxes
from mmconvnext.data.coco import objects as kinds

ALL = sum(OBJECTS.values())


# Boxes and shapes of the third object, which is [30, 5, 12, 16]; None is "left out".
@pytest.mark.parametrize(
    ('box', 'shape', 'expected', 'kind'),
    [
        ([30, 5, 12, 0], [30, 5, 12, 16], [30, 5, 12, 16], kinds.BOXES_OF_SHAPES),
        ([30, 5, 0, 16], [30, 5, 12, 16], [30, 5, 12, 16], kinds.BOXES_OF_SHAPES),
        ([30, 5, 0.9, 16], [30, 5, 1, 16], [30, 5, 1, 16], kinds.BOXES_OF_SHAPES),
        ([30, 5, 16, 0.9], [30, 5, 16, 1], [30, 5, 16, 1], kinds.BOXES_OF_SHAPES),
        ([30, 5, 1, 16], [30, 5, 2, 16], [30, 5, 1, 16], None),
        ([30, 5, 16, 1], [30, 5, 16, 2], [30, 5, 16, 1], None),
        ([30, 5, 0.5, 16], [30, 5, 0.9, 16], [30, 5, 0.5, 16], None),
        ([30, 5, 0, 16], [30, 5, 0.9, 16], None, kinds.NO_EXTENT),
        ([30, 5, 16, 0], None, None, kinds.NO_EXTENT),
        ([42, 5, -12, 16], None, [30, 5, 12, 16], kinds.BACKWARDS),
        ([30, 21, 12, -16], None, [30, 5, 12, 16], kinds.BACKWARDS),
        ([42, 21, -12, -16], None, [30, 5, 12, 16], kinds.BACKWARDS),
        ([31, 5, -1, 16], None, [30, 5, 1, 16], kinds.BACKWARDS),
        ([30, 6, 12, -1], None, [30, 5, 12, 1], kinds.BACKWARDS),
        ([31, 5, -0.9, 16], None, None, kinds.NO_EXTENT),
        ([30, 6, 12, -0.9], None, None, kinds.NO_EXTENT),
        ([11, 5, -12, 16], None, [-1, 5, 12, 16], kinds.BACKWARDS),  # a pixel is rounding
        ([30, 15, 12, -16], None, [30, -1, 12, 16], kinds.BACKWARDS),
        ([10.5, 5, -12, 16], None, None, kinds.NO_EXTENT),
        ([30, 14.5, 12, -16], None, None, kinds.NO_EXTENT),
    ],
)
def test_boxes_without_an_extent_or_drawn_backwards(tmp_path, box, shape, expected, kind):
    found = files.content()
    value = [files.polygon(*shape)] if shape else []
    found['annotations'][2].update(bbox=box, segmentation=value)
    sound = files.read(tmp_path, found, masks=False, learnt=False)
    ledger = sound.ledger
    if expected is None:
        assert told(ledger.left_out) == {kind: 1} and ledger.mended == {}
        assert len(sound.content['annotations']) == ALL - 1
    else:
        assert sound.content['annotations'][2]['bbox'] == pytest.approx(expected)
        assert told(ledger.mended) == ({kind: 1} if kind else {}) and ledger.left_out == {}
    assert ledger.noted == {} and ledger.refused == []


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ([-1, 5, 12, 16], [-1, 5, 12, 16]),
        ([-1.25, 5, 12, 16], [0, 5, 10.75, 16]),
        ([30, -1, 12, 16], [30, -1, 12, 16]),
        ([30, -1.25, 12, 16], [30, 0, 12, 14.75]),
        ([30, 5, 67, 16], [30, 5, 67, 16]),
        ([30, 5, 67.25, 16], [30, 5, 66, 16]),
        ([30, 5, 12, 60], [30, 5, 12, 60]),
        ([30, 5, 12, 60.25], [30, 5, 12, 59]),
        ([-12, 5, 12, 16], None),
        ([-12, 5, 12.5, 16], [0, 5, 0.5, 16]),
        ([30, -16, 12, 16], None),
        ([30, 64, 12, 16], None),
        ([30, 63.5, 12, 16], [30, 63.5, 12, 0.5]),
        ([96, 5, 12, 16], None),
    ],
)
def test_a_box_is_cut_beyond_a_pixel_outside(tmp_path, box, expected):
    found = files.content()
    found['annotations'][2].update(bbox=list(box), segmentation=[])
    sound = files.read(tmp_path, found, masks=False, learnt=False)
    if expected is None:
        assert told(sound.ledger.left_out) == {kinds.OUTSIDE: 1}
    else:
        assert sound.content['annotations'][2]['bbox'] == pytest.approx(expected)
        cut = {} if expected == box else {kinds.CLIPPED: 1}
        assert told(sound.ledger.mended) == cut and sound.needed == bool(cut)


@pytest.mark.parametrize('side', [2, 3])
def test_flat_boxes_are_compared_with_their_segmentation_too(tmp_path, side):
    found = files.content()
    found['annotations'][2]['bbox'][side] = 0.5
    sound = files.read(tmp_path, found)
    assert told(sound.ledger.noted) == {boxes.DIFFER: 1}
    assert told(sound.ledger.mended) == {kinds.BOXES_OF_SHAPES: 1}
    assert sound.content['annotations'][2]['bbox'] == [30, 5, 12, 16]


@pytest.mark.parametrize('width', [1e308, 2**20 + 1, -1e308, None])
@pytest.mark.parametrize(
    ('box', 'left'),
    [
        ([8, 6, 2**20 - 8, 31], True),
        ([8, 6, 2**20 - 7, 31], False),
        ([8, 6, 1e308, 31], False),
        ([8, -1e308, 5, 31], False),
    ],
)
def test_sizes_and_boxes_beyond_every_image(tmp_path, width, box, left):
    found = files.content()
    found['images'][1].update(file_name='elsewhere/x.png', width=width)
    objects = [entry for entry in found['annotations'] if entry['image_id'] == 2]
    objects[0].update(bbox=box, segmentation=[])
    sound = files.read(tmp_path, found, learnt=False)
    assert [entry['bbox'] == box for entry in sound.content['annotations']].count(True) == left
    assert told(sound.ledger.left_out).get(kinds.OUTSIDE, 0) == (not left)
