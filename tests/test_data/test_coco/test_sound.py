# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/sound.py: counts of a file, and what is wrong with it as a whole."""

import gc
import json

import coco_files as files
import pytest
from coco_files import OBJECTS, told

from mmconvnext.data.coco import objects, sound


def each(**values):
    def change(found):
        for entry in found['annotations']:
            entry.update(values)

    return change


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        ([], '7 empty segmentations'),
        (None, '7 empty segmentations'),
        ([[]], '7 empty segmentations'),
        ([[1, 2, 3, 4]], '7 polygons without three points and an area'),
        (dict(size=[4, 4], counts=[16]), '7 run lengths of another size than the image'),
    ],
)
def test_no_masks_for_a_recipe_of_masks(tmp_path, value, reason):
    found = files.content()
    each(segmentation=value)(found)
    ledger = files.read(tmp_path, found).ledger
    (refusal,) = ledger.refused
    assert refusal.check == 'masks' and 'none of 7 objects has a mask' in refusal.text
    assert f'({reason})' in refusal.text and 'own_data.masks_from_boxes=True' in refusal.text
    assert 'configs/faster_rcnn/faster-rcnn' in refusal.text
    assert (files.read(tmp_path, found, masks=False).ledger.refused, ledger.left_out) == ([], {})
    kept = files.keep(tmp_path, found, masks_from_boxes=True)
    assert told(kept.ledger.mended) == {objects.BOXED: 7} and kept.facts.classes == OBJECTS
    each(segmentation=[])(found)
    assert files.score(kept.file, found) == {'cat': (1, 3), 'dog': (1, 4)}


def test_no_masks_beside_crowds(tmp_path):
    found = files.content()
    each(segmentation=[])(found)
    found['annotations'][0].update(iscrowd=1, segmentation=[files.polygon(8, 3, 20, 31)])
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert '(6 empty segmentations, and 1 are regions to ignore (iscrowd=1))' in refusal.text


def test_all_crowds(tmp_path):
    found = files.content()
    each(iscrowd=1)(found)
    for masks in (True, False):
        (refusal,) = files.read(tmp_path, found, masks=masks).ledger.refused
        assert refusal.check == 'crowd' and refusal.text.startswith('all 7 objects have iscrowd=1')
        assert 'own_data.crowd_as_object=True' in refusal.text
    kept = files.keep(tmp_path, found, crowd_as_object=True)
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


def test_all_marked_to_be_ignored(tmp_path):
    found = files.content()
    each(ignore=1)(found)
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.check == 'crowd' and 'crowd_as_object' not in refusal.text
    assert refusal.text.endswith('; 7 are marked "ignore": remove that key to learn them')
    found['annotations'][0].update(ignore=0, iscrowd=1)
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert 'crowd_as_object=True; 6 are marked "ignore"' in refusal.text


def test_many_crowds_are_told(tmp_path):
    found = files.content()
    found['annotations'][2]['iscrowd'] = 1  # 1 of 7
    ledger = files.read(tmp_path, found).ledger
    assert told(ledger.noted) == {sound.CROWDED: 1} and not ledger.refused
    assert ledger.noted[sound.CROWDED].first == [3]
    found['annotations'] += [
        dict(a, id=a['id'] + 50, bbox=[0, *a['bbox'][1:]]) for a in found['annotations']
    ]
    found['annotations'][9]['iscrowd'] = 0
    assert sound.CROWDED not in files.read(tmp_path, found, masks=False).ledger.noted  # 1 of 14


def test_classes_of_ignored_objects_are_named(tmp_path):
    found = files.content()
    for entry in found['annotations']:
        entry['iscrowd'] = entry['category_id'] - 1
    ledger = files.read(tmp_path, found).ledger
    assert ledger.noted[sound.NOT_LEARNT].first == ['dog']
    found['annotations'] = [a for a in found['annotations'] if not a['iscrowd']]
    # A class without objects is told by the check of the classes.
    assert sound.NOT_LEARNT not in files.read(tmp_path, found).ledger.noted


def nothing(found):
    found['annotations'] = []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (nothing, 'none of 0 objects is left: there are no objects'),
        (
            each(image_id=99),
            '7 objects whose "image_id" is no "id" of "images" (1: 99, 2: 99, ',
        ),
        (each(image_id='x'), "(1: 'x', "),
        (each(category_id=0), '7 objects whose "category_id" is no "id" of "categories" (1: 0, '),
        (each(bbox=[-20, 20, 9, 9], segmentation=[]), '7 objects outside their image'),
        (each(bbox=[20, 20, 0.5, 9], segmentation=[]), '7 objects under one pixel'),
        (each(bbox=None, segmentation=[]), '7 objects without a usable box or segmentation'),
    ],
)
def test_nothing_is_left_and_why(tmp_path, change, message):
    found = files.content()
    change(found)
    kept = files.keep(tmp_path, found, masks=False, drop_empty=True)
    refusals = [r.text for r in kept.ledger.refused if r.check == 'no_objects']
    assert refusals and message in refusals[0] and 'images without' not in refusals[0]
    assert files.read(tmp_path, found, learnt=False, measured=False).ledger.refused == []


def test_only_objects_of_other_categories(tmp_path):
    found = files.content()
    found['categories'].append(dict(id=3, name='bird'))
    each(category_id=3)(found)
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.text == (
        'none of 7 objects is left: 7 are of categories that are no classes; to learn them, write '
        "classes=['bird']"
    )
    # A class that is not listed is told by the check of the classes.
    assert files.read(tmp_path, found, classes=('cat', 'cow')).ledger.refused == []


def test_small_images_are_not_learnt(tmp_path):
    (refusal,) = files.read(tmp_path, files.content(), min_size=65).ledger.refused
    assert (
        '3 images that are not learnt because a side is under 65 pixels (filter_cfg.min_size'
        in refusal.text
    )
    assert files.read(tmp_path, files.content(), min_size=64).ledger.left_out == {}


def test_passed_refusals_do_not_hide_that_nothing_is_left(tmp_path):
    found = files.content()
    for entry in found['images']:
        entry['file_name'] = 'gone/' + entry['file_name']
    checks = [r.check for r in files.read(tmp_path, found, passed=('image_files',)).ledger.refused]
    assert checks == ['image_files', 'no_objects']


def test_counts(tmp_path):
    found = files.content()
    found['categories'].append(dict(id=3, name='bird'))
    found['annotations'][0]['category_id'] = 3  # the cat of image 1 is a bird
    found['annotations'][2]['iscrowd'] = 1
    for entry in found['annotations'][-2:]:  # image 3 has birds only
        entry['category_id'] = 3
    facts = files.read(tmp_path, found, drop_empty=True).facts
    assert (facts.images, facts.objects, facts.crowds) == (3, 7, 1)
    assert (
        facts.classes == dict(cat=1, dog=2) and facts.others == dict(bird=3) and facts.usable == 3
    )
    assert (facts.images_learnt, facts.objects_learnt) == (2, 3)
    facts, ledger = files.read(tmp_path, found)[1:3]
    assert told(ledger.noted)[sound.OTHERS] == 3 and ledger.noted[sound.OTHERS].first == ['bird 3']
    assert (facts.images_learnt, facts.objects_learnt) == (3, 3)


def test_images_without_objects_are_named(tmp_path):
    found = files.content()
    found['annotations'] = found['annotations'][:3]
    ledger = files.read(tmp_path, found, drop_empty=True).ledger
    assert told(ledger.left_out) == {sound.EMPTY: 2}
    assert ledger.left_out[sound.EMPTY].first == ['2.png', '3.png']
    assert not files.read(tmp_path, found, drop_empty=True, learnt=False).ledger.left_out
    found['annotations'][0].update(image_id=2, iscrowd=1)  # mmdet keeps images with crowds
    ledger = files.read(tmp_path, found, drop_empty=True).ledger
    assert ledger.left_out[sound.EMPTY].first == ['3.png']


def test_pictures_are_equal_for_the_same_ids_and_names(tmp_path):
    def of(found):
        return files.read(tmp_path, found).facts.pictures

    first, found = of(files.content()), files.content()
    found['images'].reverse()
    found['annotations'].pop()
    assert of(found) == first
    found['images'][0]['id'], found['images'][1]['id'] = (
        found['images'][1]['id'],
        found['images'][0]['id'],
    )
    assert of(found) != first


def test_the_listed_content_keeps_its_other_keys(tmp_path):
    found = files.content() | dict(info=dict(year=2000))
    found['annotations'][0].update(id=0, keypoints=[1, 2, 2], note='x')
    content = files.read(tmp_path, found).content
    assert content['info'] == dict(year=2000)
    assert content['annotations'][0]['note'] == 'x' and content['annotations'][0]['keypoints'] == [
        1,
        2,
        2,
    ]


def test_what_is_no_coco_file_has_no_facts(tmp_path):
    found = sound.make_sound(files.write(tmp_path, '{'), files.wanted(tmp_path))
    assert found.facts == sound.Facts() and not found.needed and len(found.ledger.refused) == 1


@pytest.mark.parametrize('enabled', [True, False])
def test_garbage_collection_is_put_back(tmp_path, enabled):
    gc.enable() if enabled else gc.disable()
    try:
        sound.make_sound(files.write(tmp_path, json.dumps({})), files.wanted(tmp_path))
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
