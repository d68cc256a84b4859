# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/references.py: ids of objects that are off by one would name the neighbour."""

import coco_files as files
import pytest

from mmconvnext.data.coco import images
from mmconvnext.data.coco.references import References
from mmconvnext.data.ledger import Ledger


def judged(used, listed) -> str:
    """The refusal of objects with these ids, '' if there is none."""
    references, ledger = References('category_id', dict.fromkeys(listed, 'x')), Ledger()
    for i in used:
        references.find(dict(category_id=i))
    references.judge(ledger)
    assert [r.check for r in ledger.refused] in ([], ['references'])
    return ledger.refused[0].text if ledger.refused else ''


def test_what_is_found():
    references = References('image_id', {7: 'a', 'x': 'b'})
    entries = [dict(image_id=i) for i in (7, '7', ' x ', 8, None)]
    assert [references.find(entry) for entry in entries] == ['a', 'a', 'b', None, None]
    assert references.named(dict(image_id='8'), 3) == "3: '8'"


@pytest.mark.parametrize(
    ('used', 'listed', 'way'),
    [
        ([0, 1, 2], [1, 2, 3], 'one too low: .* refer to 0 to 2, .* ids 1 to 3.*; add 1 to each'),
        ([3, 1], [0, 1, 2], 'one too high: .* refer to 1 to 3, .* ids 0 to 2.*; add -1 to each'),
        ([0, 1], [1, 2, 3], 'one too low'),  # the last class has no objects
        (['0', '1'], [1, 2], 'one too low'),
    ],
)
def test_ids_that_are_off_by_one(used, listed, way):
    import re

    assert re.search(way, judged(used, listed))


@pytest.mark.parametrize(
    ('used', 'listed'),
    [
        ([1, 2], [1, 2, 3]),
        ([1, 2, 9], [1, 2, 3]),
        ([0, 1, 2, 3], [1, 2, 3]),  # 0 may be an ignored class
        ([0], [1, 2]),  # all are lost: another refusal tells
        ([], [1]),
        (['a', 1], [1, 2]),
        ([None, 1], [1, 2]),
    ],
)
def test_other_orphans_are_single_faults(used, listed):
    assert judged(used, listed) == ''


@pytest.mark.parametrize('field', ['category_id', 'image_id'])
def test_a_file_that_counts_from_zero(tmp_path, field):
    found = files.content()
    for entry in found['annotations']:
        entry[field] -= 1
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.check == 'references' and f'"{field}" of all objects seems' in refusal.text
    assert files.read(tmp_path, found, passed=('references',)).facts.objects_learnt
    assert files.read(tmp_path, found, learnt=False, measured=False).ledger.refused == []


def test_missing_images_that_are_passed_say_nothing_about_the_ids(tmp_path):
    found = files.content()
    found['images'][2]['file_name'] = 'gone.png'
    found['annotations'] = [a for a in found['annotations'] if a['image_id'] > 1]
    ledger = files.read(tmp_path, found, passed=('image_files',)).ledger
    assert [r.check for r in ledger.refused] == [
        'image_files'
    ] and images.MISSING in ledger.left_out
