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


def test_ids_of_the_wrong_kind_are_no_neighbours():
    assert judged([0, 'a'], [1, 'a']) == judged(['0', 1.5], [1, 2]) == ''
    assert 'refer to 1 to 2, the categories have the ids 2 to 3' in judged([1, 2], [2, 'x', 3])


@pytest.mark.parametrize(
    ('field', 'what'), [('image_id', 'the images have'), ('category_id', 'the categories have')]
)
def test_the_refusal_says_what_would_be_taken(field, what):
    references, ledger = References(field, {5: 'a', 6: 'b', 8: 'c'}), Ledger()
    for i in (4, 5, 7):
        references.find({field: i})
    references.judge(ledger)
    (refusal,) = ledger.refused
    assert refusal.check == 'references'
    assert refusal.text == (
        f'"{field}" of all objects seems to be one too low: objects refer to 4 to 7, {what} the '
        'ids 5 to 8, so objects would be taken for those of the next one; add 1 to each '
        f'"{field}"'
    )


@pytest.mark.parametrize('step', [2, -2])
def test_ids_that_are_off_by_two_are_single_faults(step):
    assert judged([3 + step, 4 + step, 5 + step, 6 + step], [3, 4, 5, 6]) == ''
