# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/objects.py: each field of an object is mended, or the object left out and counted."""

import coco_files as files
import numpy as np
import pytest
from coco_files import OBJECTS, told
from PIL import Image
from pycocotools import mask as rle_api

from mmconvnext.data import cache
from mmconvnext.data.coco import geometry
from mmconvnext.data.coco import objects as kinds

ALL = sum(OBJECTS.values())
# Pillow's way from the stored pixels to the loaded ones, by EXIF orientation.
TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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


@pytest.mark.parametrize(
    ('value', 'crowd', 'mended'),
    [
        (0, 0, 0),
        (1, 1, 0),
        (2, 1, 1),
        (-1, 1, 1),
        (1.0, 1, 1),
        (0.0, 0, 1),
        (True, 1, 1),
        (False, 0, 1),
        ('1', 1, 1),
        (' Yes ', 1, 1),
        ('TRUE', 1, 1),
        ('no', 0, 1),
        ('false', 0, 1),
        ('x', 0, 1),
        (None, 0, 1),
        ([1], 0, 1),
    ],
)
def test_what_iscrowd_may_be(tmp_path, value, crowd, mended):
    found = files.content()
    one(2, iscrowd=value)(found)
    sound = files.read(tmp_path, found)
    flag = sound.content['annotations'][2]['iscrowd']
    assert flag == crowd and type(flag) is int
    assert told(sound.ledger.mended) == ({kinds.CROWDS: 1} if mended else {})
    assert sound.needed == bool(mended)
    assert sound.facts.crowds == crowd and sound.facts.classes == dict(cat=3, dog=4 - crowd)


@pytest.mark.parametrize(
    ('value', 'crowd'), [(1, 1), ('true', 1), ('no', 0), (0, 0), ('0', 0), ('', 0), (None, 0)]
)
def test_what_ignore_may_be(tmp_path, value, crowd):
    found = files.content()
    one(2, ignore=value)(found)
    sound = files.read(tmp_path, found)
    assert sound.content['annotations'][2]['iscrowd'] == crowd
    assert told(sound.ledger.mended) == ({kinds.IGNORED: 1} if crowd else {})
    assert sound.needed == bool(value)  # mmdet drops each object whose "ignore" is not 0


def test_objects_without_an_id_are_named_by_their_position(tmp_path):
    found = files.content()
    del found['annotations'][2]['id'], found['annotations'][2]['area']
    found['annotations'].append('x')
    sound = files.read(tmp_path, found)
    assert sound.ledger.mended[kinds.AREAS].first == ['number 2']
    assert sound.ledger.mended[kinds.IDS].first == ['number 2']
    assert sound.ledger.left_out[kinds.BROKEN].first == ['number 7']
    assert [entry['id'] for entry in sound.content['annotations']] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ('value', 'mended'),
    [(-3, 0), (2**53, 0), (-(2**53), 0), (2**53 + 1, 1), (-(2**53) - 1, 1), (0, 1), (True, 1)],
)
def test_ids_that_pycocotools_tells_apart(tmp_path, value, mended):
    found = files.content()
    one(1, id=value)(found)
    sound = files.read(tmp_path, found)
    assert told(sound.ledger.mended) == ({kinds.IDS: 1} if mended else {})
    assert not mended or sound.ledger.mended[kinds.IDS].first == [value]
    ids = [entry['id'] for entry in sound.content['annotations']]
    assert ids == ([1, 2, 3, 4, 5, 6, 7] if mended else [1, value, 3, 4, 5, 6, 7])


def test_missing_images_of_unknown_size_do_not_lose_their_objects(tmp_path):
    """One fault is told, not the faults that follow from it."""
    found = files.content()
    for entry, values in zip(found['images'], (dict(width=None), dict(height=0), dict(width=0))):
        entry.update(file_name=f'gone{entry["id"]}.png', **values)
    del found['images'][2]['height']
    ledger = files.read(tmp_path, found).ledger
    assert [r.check for r in ledger.refused] == ['image_files']
    assert ledger.left_out == {} and ledger.mended == {}


@pytest.mark.parametrize(
    ('value', 'expected'),
    [(None, 12 * 16), (0, 12 * 16), (-5, 12 * 16), ('7.5', 7.5), ('-1', 12 * 16), (0.25, 0.25)],
)
def test_areas_without_a_polygon_are_those_of_the_box(tmp_path, value, expected):
    found = files.content()
    one(2, area=value, segmentation=[])(found)
    sound = files.read(tmp_path, found, masks=False)
    assert sound.content['annotations'][2]['area'] == expected
    assert told(sound.ledger.mended) == ({} if value == 0.25 else {kinds.AREAS: 1})


def test_regions_to_ignore_without_a_mask_are_their_box(tmp_path):
    found = files.content()
    one(2, segmentation=[], iscrowd=1)(found)
    for boxed in (False, True):
        sound = files.read(tmp_path, found, masks_from_boxes=boxed)
        assert sound.ledger.mended == {} and sound.ledger.left_out == {}
        entry = sound.content['annotations'][2]
        assert entry['iscrowd'] == 1 and sound.facts.crowds == 1 and sound.needed
        mask = np.zeros((files.HEIGHT, files.WIDTH), bool)
        mask[5 : 5 + 16, 30 : 30 + 12] = True
        assert (files.mask(entry, found['images'][0]) == mask).all()


def test_regions_to_ignore_may_be_run_lengths_in_every_pipeline(tmp_path):
    found = files.content()
    image = found['images'][0]
    rle = rle_api.encode(np.asfortranarray(files.mask(found['annotations'][2], image)))
    value = dict(size=rle['size'], counts=rle['counts'].decode())
    one(2, segmentation=value, iscrowd=1)(found)
    sound = files.read(tmp_path, found, polygons=True)
    assert sound.ledger.left_out == {} and not sound.needed


def test_what_is_mended_in_a_mask_is_counted(tmp_path):
    found = files.content()
    one(2, segmentation=files.polygon(30, 5, 12, 16))(found)  # without the outer list
    sound = files.read(tmp_path, found)
    assert told(sound.ledger.mended) == {geometry.FLAT: 1} and sound.needed
    assert files.objects(sound.content) == files.objects(files.content())


def test_the_same_box_is_another_object_in_another_image_or_class(tmp_path):
    found = files.content()
    for i, entry in enumerate(found['annotations']):
        entry.update(bbox=[8, 3, 20, 31], segmentation=[files.polygon(8, 3, 20, 31)])
        entry.update(image_id=i // 2 + 1 if i < 6 else 3, category_id=i % 2 + 1)
    assert told(files.read(tmp_path, found).ledger.noted) == {kinds.DOUBLES: 1}  # the last
    found['annotations'].pop()
    assert files.read(tmp_path, found).ledger.noted == {}
    one(0, iscrowd=1)(found)  # a region to ignore is no double of an object
    one(1, category_id=1)(found)
    assert kinds.DOUBLES not in files.read(tmp_path, found).ledger.noted


@pytest.mark.parametrize(('count', 'noted'), [(99, False), (98, True)])
def test_single_doubles_are_not_worth_a_warning(tmp_path, count, noted):
    """One of 100 objects is not told, one of 99 is."""
    found, first = files.content(), files.content()['annotations'][0]
    boxes = [[i % 50, 20 * (i // 50), 12, 16] for i in range(count)]
    found['annotations'] = [
        {**first, 'id': i, 'bbox': box, 'segmentation': [files.polygon(*box)]}
        for i, box in enumerate([*boxes, boxes[0]], 1)
    ]
    ledger = files.read(tmp_path, found).ledger
    assert told(ledger.noted) == ({kinds.DOUBLES: 1} if noted else {}) and not ledger.mended


def test_low_objects_under_a_pixel_are_not_learnt(tmp_path):
    found = files.content()
    one(2, bbox=[30, 5, 12, 0.9], segmentation=[])(found)
    sound = files.read(tmp_path, found, masks=False)
    assert told(sound.ledger.left_out) == {kinds.SMALL: 1}
    assert sound.ledger.left_out[kinds.SMALL].first == [3] and sound.facts.objects_learnt == 6


@pytest.mark.parametrize('orientation', [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize('masks', [True, False])
def test_masks_are_turned_exactly_whatever_is_learnt(tmp_path, orientation, masks):
    exif = Image.Exif()
    exif[0x0112] = orientation
    files.pictures(tmp_path, exif=exif)
    found = files.content()
    image = found['images'][0]
    for entry in found['annotations']:
        rle = rle_api.encode(np.asfortranarray(files.mask(entry, image)))
        entry['segmentation'] = dict(size=rle['size'], counts=rle['counts'].decode())
    stored = [files.mask(entry, image) for entry in found['annotations']]
    sound = files.read(tmp_path, found, apply_exif=True, masks=masks)
    assert told(sound.ledger.mended)[kinds.TURNED] == ALL and sound.needed
    for entry, mask in zip(sound.content['annotations'], stored):
        turned = Image.fromarray(mask).transpose(TRANSPOSED[orientation])
        assert (rle_api.decode(entry['segmentation']) == np.asarray(turned)).all()
        x, y, w, h = entry['bbox']
        ys, xs = np.nonzero(np.asarray(turned))
        near = [xs.min() - x, ys.min() - y, xs.max() + 1 - x - w, ys.max() + 1 - y - h]
        assert np.abs(near).max() <= 1


def test_progress_is_told_from_the_first_object_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, 'SILENT', -1)
    files.read(tmp_path, files.content())
    out = capsys.readouterr().out
    assert 'objects checked: 0 of 7, ' in out and 'objects checked: 1 of 7' not in out
