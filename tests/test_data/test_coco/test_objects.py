# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/objects.py: each field of an object is mended, or the object left out and counted."""

import coco_files as files
import numpy as np
import pytest
from coco_files import OBJECTS, told
from PIL import Image
from pycocotools import mask as rle_api

from mmconvnext.data.coco import objects as kinds

ALL = sum(OBJECTS.values())


def each(**values):
    """A defect: fields of every object are set; a function gets the object."""

    def change(found):
        for entry in found['annotations']:
            for name, value in values.items():
                entry[name] = value(entry) if callable(value) else value

    return change


def drop(name):
    def change(found):
        for entry in found['annotations']:
            del entry[name]

    return change


def one(position, **values):
    def change(found):
        found['annotations'][position].update(values)

    return change


BACKWARD = [86.5, 9, -41.5, 22]  # the second object, drawn from its upper right corner
MENDED = [
    ('image ids as strings', each(image_id=lambda a: str(a['image_id'])), kinds.REFERENCES, ALL),
    ('image ids as floats', each(image_id=lambda a: float(a['image_id'])), kinds.REFERENCES, ALL),
    (
        'category ids as strings',
        each(category_id=lambda a: f' {a["category_id"]} '),
        kinds.REFERENCES,
        ALL,
    ),
    ('ids from 0', each(id=lambda a: a['id'] - 1), kinds.IDS, 1),
    ('ids twice', each(id=lambda a: (a['id'] + 1) // 2), kinds.IDS, 3),
    ('no id', drop('id'), kinds.IDS, ALL),
    ('ids as strings', each(id=lambda a: str(a['id'])), kinds.IDS, ALL),
    ('ids as floats', each(id=lambda a: a['id'] * 1e3), kinds.IDS, ALL),
    ('an id beyond floats', one(1, id=2**53 + 1), kinds.IDS, 1),
    ('no iscrowd', drop('iscrowd'), kinds.CROWDS, ALL),
    ('iscrowd as a string', each(iscrowd='0'), kinds.CROWDS, ALL),
    ('iscrowd as a word', each(iscrowd='false'), kinds.CROWDS, ALL),
    ('iscrowd as a bool', each(iscrowd=False), kinds.CROWDS, ALL),
    ('no area', drop('area'), kinds.AREAS, ALL),
    ('area 0', each(area=0), kinds.AREAS, ALL),
    ('area as a string', each(area=lambda a: str(a['area'])), kinds.AREAS, ALL),
    ('area NaN', one(3, area=float('nan')), kinds.AREAS, 1),
    ('no bbox', drop('bbox'), kinds.BOXES_OF_SHAPES, ALL),
    ('bbox null', one(2, bbox=None), kinds.BOXES_OF_SHAPES, 1),
    ('bbox of nothing', one(2, bbox=[]), kinds.BOXES_OF_SHAPES, 1),
    ('a box that is turned', one(2, bbox=[30, 5, 12, 16, 0.5]), kinds.BOXES_OF_SHAPES, 1),
    ('bbox without extent', one(2, bbox=[30, 5, 0, 0]), kinds.BOXES_OF_SHAPES, 1),
    ('negative width', one(1, bbox=BACKWARD), kinds.BOXES_OF_SHAPES, 1),
    (
        'bbox of strings',
        each(bbox=lambda a: [str(v) for v in a['bbox']]),
        kinds.BOXES_OF_STRINGS,
        ALL,
    ),
    ('bbox NaN', one(2, bbox=[float('nan'), 5, 12, 16]), kinds.BOXES_OF_SHAPES, 1),
]


@pytest.mark.parametrize(
    ('change', 'kind', 'count'), [m[1:] for m in MENDED], ids=[m[0] for m in MENDED]
)
def test_mended_with_a_count_and_nothing_is_lost(tmp_path, change, kind, count):
    found = files.content()
    change(found)
    kept = files.keep(tmp_path, found)
    assert told(kept.ledger.mended) == {kind: count}
    assert (kept.ledger.left_out, kept.ledger.noted, kept.ledger.refused) == ({}, {}, [])
    assert kept.facts.classes == OBJECTS
    for metric in ('segm', 'bbox'):
        assert files.score(kept.file, files.content(), metric) == {'cat': (1, 3), 'dog': (1, 4)}


def test_areas_are_those_of_the_polygons(tmp_path):
    found = files.content()
    drop('area')(found)
    areas = [entry['area'] for entry in files.read(tmp_path, found).content['annotations']]
    assert areas == pytest.approx([entry['area'] for entry in files.content()['annotations']])


def test_a_sound_file_is_left_as_it_is(tmp_path):
    kept = files.keep(tmp_path, files.content())
    assert kept.file == tmp_path / 'a.json' and kept.facts.objects == ALL
    assert files.score(kept.file, files.content()) == {'cat': (1, 3), 'dog': (1, 4)}


LOST = [
    ('no object', lambda found: found['annotations'].insert(2, 'x'), kinds.BROKEN, 0),
    ('null', lambda found: found['annotations'].append(None), kinds.BROKEN, 0),
    ('image not listed', one(2, image_id=99), kinds.NO_IMAGE, 1),
    ('no image', lambda found: found['annotations'][2].pop('image_id'), kinds.NO_IMAGE, 1),
    ('category not listed', one(2, category_id=0), kinds.NO_CATEGORY, 1),
    ('category a bool', one(2, category_id=True), kinds.NO_CATEGORY, 1),
    ('category a list', one(2, category_id=[2]), kinds.NO_CATEGORY, 1),
    ('no box or segmentation', one(2, bbox=None, segmentation=[]), kinds.NO_BOX, 1),
    ('five numbers', one(2, bbox=[1, 2, 3, 4, 5], segmentation=[]), kinds.NOT_FOUR, 1),
    ('no numbers', one(2, bbox=['a', 2, 3, 4], segmentation=[]), kinds.NOT_FOUR, 1),
    ('no extent', one(2, bbox=[30, 5, 0, 16], segmentation=None), kinds.NO_EXTENT, 1),
    (
        'drawn out of the image',
        one(2, bbox=[10, 5, -12, 16], segmentation=None),
        kinds.NO_EXTENT,
        1,
    ),
    ('outside', one(2, bbox=[96, 5, 12, 16], segmentation=[]), kinds.OUTSIDE, 1),
]


@pytest.mark.parametrize(
    ('change', 'kind', 'fewer'), [r[1:] for r in LOST], ids=[r[0] for r in LOST]
)
def test_left_out_with_a_count_and_all_others_stay(tmp_path, change, kind, fewer):
    found, truth = files.content(), files.content()
    change(found)
    kept = files.keep(tmp_path, found)
    del truth['annotations'][2 : 2 + fewer]
    assert told(kept.ledger.left_out) == {kind: 1} and not kept.ledger.refused
    assert kept.facts.classes == dict(cat=3, dog=4 - fewer)
    assert kept.file != tmp_path / 'a.json'
    assert files.score(kept.file, truth) == {'cat': (1, 3), 'dog': (1, 4 - fewer)}


def test_boxes_without_polygons_drawn_from_right_to_left(tmp_path):
    found = files.content()
    each(segmentation=[])(found)
    one(1, bbox=BACKWARD)(found)
    kept = files.keep(tmp_path, found, masks=False)
    assert told(kept.ledger.mended) == {kinds.BACKWARDS: 1}
    assert files.score(kept.file, files.content(), 'bbox') == {'cat': (1, 3), 'dog': (1, 4)}


def test_boxes_are_cut_at_the_border_and_rounding_stays(tmp_path):
    found = files.content()
    for entry, box in zip(
        found['annotations'], ([-3, 3, 31, 31], [45, 9, 51.9, 22], [30, -2, 12, 23])
    ):
        entry.update(bbox=box, segmentation=[files.polygon(*box)])
    sound = files.read(tmp_path, found)
    assert told(sound.ledger.mended) == {kinds.CLIPPED: 2}
    boxes = [entry['bbox'] for entry in sound.content['annotations'][:3]]
    assert boxes == [[0, 3, 28, 31], [45, 9, 51.9, 22], [30, 0, 12, 21]]


def test_objects_under_a_pixel_are_not_learnt_but_measured(tmp_path):
    found = files.content()
    one(2, bbox=[30, 5, 0.9, 16], segmentation=[])(found)
    sound = files.read(tmp_path, found, masks=False)
    assert told(sound.ledger.left_out) == {kinds.SMALL: 1}
    assert sound.facts.classes == dict(cat=3, dog=3)
    sound = files.read(tmp_path, found, masks=False, learnt=False)
    assert sound.ledger.left_out == {} and sound.facts.classes == OBJECTS
    one(2, bbox=[30, 5, 1, 16])(found)
    assert files.read(tmp_path, found, masks=False).ledger.left_out == {}


def test_ignored_objects_are_regions_to_ignore(tmp_path):
    found = files.content()
    one(0, ignore=1)(found)
    one(1, ignore='0')(found)
    one(2, ignore=True, iscrowd=1)(found)
    sound = files.read(tmp_path, found)
    assert told(sound.ledger.mended) == {kinds.IGNORED: 1}
    flags = [(a['ignore'], a['iscrowd']) for a in sound.content['annotations'][:3]]
    assert flags == [(0, 1), (0, 0), (0, 1)]
    assert sound.facts.classes == dict(cat=2, dog=3) and sound.facts.crowds == 2


def test_crowds_as_objects_by_name_only(tmp_path):
    found = files.content()
    each(iscrowd=lambda a: a['category_id'] - 1)(found)
    sound = files.read(tmp_path, found)
    assert sound.facts.classes == dict(cat=3, dog=0) and sound.facts.crowds == 4
    assert not sound.needed
    sound = files.read(tmp_path, found, crowd_as_object=True)
    assert sound.facts.classes == OBJECTS and sound.facts.crowds == 0
    assert told(sound.ledger.mended) == {kinds.UNCROWDED: 4}
    assert [a['iscrowd'] for a in sound.content['annotations']] == [0] * ALL


def test_objects_without_a_mask_are_ignored_or_take_their_box(tmp_path):
    found, truth = files.content(), files.content()
    one(2, segmentation=[])(found)
    kept = files.keep(tmp_path, found)
    assert told(kept.ledger.left_out) == {kinds.NO_MASK: 1}
    assert kept.facts.classes == dict(cat=3, dog=3) and kept.facts.crowds == 1
    without = dict(truth, annotations=truth['annotations'][:2] + truth['annotations'][3:])
    for metric in ('segm', 'bbox'):
        assert files.score(kept.file, without, metric) == {'cat': (1, 3), 'dog': (1, 3)}
        assert files.score(kept.file, truth, metric) == {'cat': (1, 3), 'dog': (1, 3)}  # ignored
    kept = files.keep(tmp_path, found, masks_from_boxes=True)
    assert told(kept.ledger.mended) == {kinds.BOXED: 1} and kept.ledger.left_out == {}
    truth['annotations'][2]['segmentation'] = []
    assert files.score(kept.file, truth) == {'cat': (1, 3), 'dog': (1, 4)}


def test_run_lengths_need_a_pipeline_that_draws_them(tmp_path):
    found = files.content()
    image = found['images'][0]

    def drawn(entry):
        rle = rle_api.encode(np.asfortranarray(files.mask(entry, image)))
        return dict(size=rle['size'], counts=rle['counts'].decode())

    one(2, segmentation=drawn(found['annotations'][2]))(found)
    assert not files.read(tmp_path, found).needed
    sound = files.read(tmp_path, found, polygons=True)
    assert told(sound.ledger.left_out) == {kinds.NO_MASK: 1} and sound.needed
    each(segmentation=lambda a: a['segmentation'] if a['id'] == 3 else drawn(a))(found)
    (refusal,) = files.read(tmp_path, found, polygons=True).ledger.refused
    assert '(7 run lengths, which need poly2mask=True in LoadAnnotations)' in refusal.text


def test_the_same_box_twice_is_told_if_it_is_often(tmp_path):
    found = files.content()
    found['annotations'] += [dict(found['annotations'][2], id=50)]
    sound = files.read(tmp_path, found)
    assert told(sound.ledger.noted) == {kinds.DOUBLES: 1} and not sound.needed
    assert sound.ledger.noted[kinds.DOUBLES].first == [50]
    one(2, category_id=1)(found)
    assert files.read(tmp_path, found).ledger.noted == {}


def test_objects_are_turned_with_their_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees to the right when loaded
    files.pictures(tmp_path, exif=exif)
    found = files.content()
    sound = files.read(tmp_path, found, apply_exif=True)
    assert told(sound.ledger.mended) == {kinds.TURNED: ALL} and not sound.ledger.refused
    entry = sound.content['annotations'][0]  # [8, 3, 20, 31] of 96 x 64
    assert entry['bbox'] == [64 - 3 - 31, 8, 31, 20]
    image = sound.content['images'][0]
    assert (image['width'], image['height']) == (64, 96)
    stored = files.mask(files.content()['annotations'][0], files.content()['images'][0])
    assert (files.mask(entry, image) != np.rot90(stored, -1)).mean() < 0.01  # edges round otherwise


def test_polygons_in_percent_without_boxes(tmp_path):
    found = files.content(10)
    files.pictures(tmp_path, 10, size=(400, 300))
    for entry in found['images']:
        entry.update(width=400, height=300)
    for entry in found['annotations']:
        entry.update(bbox=None)
    found['annotations'][0]['segmentation'] = [files.polygon(1, 2, 95, 96)]
    (refusal,) = files.read(tmp_path, found).ledger.refused
    assert refusal.check == 'boxes' and 'all 21 boxes lie in the first 100 x 100' in refusal.text
