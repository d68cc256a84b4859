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
        assert refusal.text.endswith('set own_data.crowd_as_object=True')
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


def test_facts_of_nothing_are_zero(tmp_path):
    facts = sound.make_sound(files.write(tmp_path, '{'), files.wanted(tmp_path)).facts
    assert (facts.images, facts.objects, facts.crowds, facts.usable) == (0, 0, 0, 0)
    assert (facts.images_learnt, facts.objects_learnt, facts.pictures) == (0, 0, 0)
    assert facts.classes == facts.others == {} and facts.kinds == []


@pytest.mark.parametrize(
    ('learnt', 'measured', 'refused'),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_only_predictions_need_no_annotations(tmp_path, learnt, measured, refused):
    found = files.content()
    del found['annotations']
    read = files.read(tmp_path, found, learnt=learnt, measured=measured)
    assert [r.check for r in read.ledger.refused] == ['annotations'] * refused
    assert read.facts.images == 3 * (not refused)


def test_faults_of_the_lists_are_told_alone(tmp_path):
    """Objects that refer to broken lists say nothing more."""
    for key in ('images', 'categories'):
        found = files.content()
        found[key] = []
        read = files.read(tmp_path, found)
        assert [r.check for r in read.ledger.refused] == [key]
        assert read.facts == sound.Facts() and read.ledger.left_out == {} and read.content == {}


def bom(found):
    return '\ufeff' + json.dumps(found)


def changed(key, position, **values):
    def change(found):
        found[key][position].update(values)
        return found

    return change


@pytest.mark.parametrize(
    ('change', 'needed'),
    [
        (lambda found: found, False),
        (json.dumps, False),
        (bom, True),
        (changed('images', 1, width=None), True),
        (changed('images', 1, width=95), True),
        (changed('images', 1, license=4), False),
        (changed('categories', 1, id='2'), True),
        (changed('categories', 1, supercategory='pet'), False),
        (changed('annotations', 1, iscrowd='0'), True),
        (changed('annotations', 1, image_id=99), True),
        (changed('annotations', 1, note='x'), False),
    ],
)
def test_the_sound_form_is_needed_if_anything_changed(tmp_path, change, needed):
    assert files.read(tmp_path, change(files.content())).needed is needed


def test_folders_and_suffixes_of_the_images(tmp_path):
    found = files.content(2)
    for entry, name in zip(found['images'], ('b/1.JPG', 'a/2.png')):
        entry['file_name'] = name
    read = files.read(tmp_path, found, folder=str(tmp_path))
    assert set(read.folders) >= {'a', 'b'} and read.suffixes == ['.jpg', '.png']


def test_names_may_begin_with_folders_too_many(tmp_path):
    found = files.content()
    for entry in found['images']:
        entry['file_name'] = 'old/place/' + entry['file_name']
    assert [r.check for r in files.read(tmp_path, found).ledger.refused] == ['image_files']
    read = files.read(tmp_path, found, strip_folders=True)
    assert read.ledger.refused == [] and read.content['images'][2]['file_name'] == '3.png'


def test_five_other_categories_are_named(tmp_path):
    found = files.content()
    names = 'bird cow pig sheep horse goat'.split()
    found['categories'] += [dict(id=i, name=name) for i, name in enumerate(names, 3)]
    for i, entry in enumerate(found['annotations'][1:]):
        entry['category_id'] = 3 + i
    ledger = files.read(tmp_path, found).ledger
    first = ['bird 1', 'cow 1', 'pig 1', 'sheep 1', 'horse 1']
    assert told(ledger.noted) == {sound.OTHERS: 6} and ledger.noted[sound.OTHERS].first == first


@pytest.mark.parametrize(
    ('size', 'least', 'learnt'),
    [((64, 96), 64, 3), ((64, 96), 65, 0), ((96, 64), 64, 3), ((96, 64), 65, 0)],
)
def test_the_shorter_side_counts(tmp_path, size, least, learnt):
    found = files.content()
    files.pictures(tmp_path, size=size)
    for entry in found['images']:
        entry.update(width=size[0], height=size[1])
    for entry in found['annotations']:
        entry.update(bbox=[8, 3, 20, 31], segmentation=[files.polygon(8, 3, 20, 31)])
    facts = files.read(tmp_path, found, min_size=least).facts
    assert (facts.images, facts.images_learnt) == (3, learnt)
    assert facts.objects_learnt == 7 * (learnt > 0) and facts.usable == 7


def test_images_are_counted_as_empty_or_as_small(tmp_path):
    found = files.content()
    found['annotations'] = [a for a in found['annotations'] if a['image_id'] == 2]
    ledger = files.read(tmp_path, found, drop_empty=True, min_size=65).ledger
    small = f'{sound.SMALL_IMAGES} 65 pixels{sound.MIN_SIZE}'
    assert told(ledger.left_out) == {sound.EMPTY: 2, small: 1}
    assert ledger.left_out[small].first == ['2.png']
    assert files.read(tmp_path, found, drop_empty=False).facts.images_learnt == 3


@pytest.mark.parametrize(('count', 'noted'), [(10, False), (9, True)])
def test_a_tenth_may_be_regions_to_ignore(tmp_path, count, noted):
    found, first = files.content(), files.content()['annotations'][0]
    boxes = [[8 * i, 3, 12, 31] for i in range(count)]
    found['annotations'] = [
        {**first, 'id': i, 'bbox': box, 'segmentation': [files.polygon(*box)]}
        for i, box in enumerate(boxes, 1)
    ]
    found['annotations'][4]['iscrowd'] = 1
    ledger = files.read(tmp_path, found).ledger
    assert told(ledger.noted) == ({sound.CROWDED: 1} if noted else {})


def test_objects_without_a_mask_are_no_regions_of_the_file(tmp_path):
    """They are told as what they are."""
    found = files.content()
    for entry in found['annotations'][:3]:
        entry['segmentation'] = []
    ledger = files.read(tmp_path, found).ledger
    assert ledger.noted == {} and told(ledger.left_out) == {objects.NO_MASK: 3}


def test_no_masks_are_told_once(tmp_path):
    found = files.content()
    each(segmentation=[])(found)
    ledger = files.read(tmp_path, found).ledger
    assert [r.check for r in ledger.refused] == ['masks'] and ledger.left_out == {}
    assert 'regions to ignore' not in ledger.refused[0].text
    each(image_id=99)(found)  # nor is a mask missing where no object is left
    checks = [r.check for r in files.read(tmp_path, found).ledger.refused]
    assert checks == ['no_objects']


@pytest.mark.parametrize('broken', [b'no image', None])
def test_images_that_are_lost_say_nothing_about_the_ids(tmp_path, broken):
    """Without the last image, all objects would seem to refer to the next one."""
    files.pictures(tmp_path)
    (tmp_path / '1.png').unlink()
    if broken:
        (tmp_path / '1.png').write_bytes(broken)
    found = files.content()
    found['annotations'] = [a for a in found['annotations'] if a['image_id'] < 3]
    ledger = files.read(tmp_path, found, passed=('image_files',)).ledger
    assert [r.check for r in ledger.refused] == ['image_files']


def test_one_fault_is_not_followed_by_nothing_left(tmp_path):
    found = files.content()
    for entry in found['annotations']:
        x, y, w, h = entry['bbox']
        entry.update(bbox=[x, y, x + w, y + h], iscrowd=0, segmentation=[], category_id=3)
    found['categories'].append(dict(id=3, name='bird'))
    read = files.read(tmp_path, found, masks=False)
    assert [r.check for r in read.ledger.refused] == ['boxes']
    read = files.read(tmp_path, found, masks=False, passed=('boxes',))
    assert [r.check for r in read.ledger.refused] == ['boxes', 'no_objects']


@pytest.mark.parametrize('prefix', ['', 'a/', 'a\\b\\', '/x/y/'])
def test_pictures_are_the_same_in_every_folder(tmp_path, prefix):
    alone, found = files.content(), files.content()
    for entry in found['images']:
        entry['file_name'] = prefix + entry['file_name']
    first = files.read(tmp_path, alone).facts.pictures
    assert files.read(tmp_path, found, strip_folders=True).facts.pictures == first > 0
    found['images'][0]['file_name'] += 'x'
    assert files.read(tmp_path, found).facts.pictures != first


def test_a_name_that_is_no_text_is_a_missing_file(tmp_path):
    found = files.content()
    found['images'][1]['file_name'] = '\ud800.png'
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.check == 'image_files' and refusal.text.startswith('1 of 3 images do not exist')


def test_kinds_of_images_come_back_from_json(tmp_path):
    facts = files.read(tmp_path, files.content()).facts
    (kind,) = facts.kinds
    assert (kind.format, kind.channels, kind.count) == ('PNG', 3, 3)
    assert sound.Facts(kinds=[list(kind)]).kinds == [kind]


@pytest.mark.parametrize('field', ['category_id', 'image_id'])
def test_ids_that_are_off_by_one_are_refused(tmp_path, field):
    found = files.content()
    for entry in found['annotations']:
        entry[field] += 1
    for use in (dict(learnt=False), dict(measured=False)):
        (refusal,) = files.read(tmp_path, found, **use).ledger.refused
        assert refusal.check == 'references' and f'"{field}" of all objects' in refusal.text
