# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/coco.py: COCO files, and images wherever they are."""

import json

import pytest
from coco_files import HEIGHT, WIDTH, content, pictures, write
from export_files import objects, picture, ready, splits, text
from PIL import Image

from mmconvnext.data.exports.folder import SourceError

CAT = ('cat', (8, 3, 20, 31))


def test_a_file_beside_its_images_is_divided(tmp_path):
    write(tmp_path / 'a', content(5), 'labels.json')
    pictures(tmp_path / 'a', 5)
    facts, out = ready(tmp_path / 'a')
    assert [len(names) for names in splits(out).values()] == [4, 1]
    assert facts['classes'] == dict(cat=5, dog=6) and facts['masks'] == 11
    assert facts['own_data']['classes'] == ['cat', 'dog']
    assert objects(out)['1.png'][0][:2] == CAT


def test_files_of_splits(tmp_path):
    """Roboflow's: in each folder a file of one name, and images with their names from it."""
    found = content(3)
    found['categories'].insert(0, dict(id=0, name='farm', supercategory='none'))
    for category in found['categories'][1:]:
        category['supercategory'] = 'farm'
    for split in ('train', 'valid', 'test'):
        write(tmp_path / 'a' / split, found, '_annotations.coco.json')
        pictures(tmp_path / 'a' / split, 3)
    facts, out = ready(tmp_path / 'a')
    assert splits(out)['val'] == ['valid/1.png', 'valid/2.png', 'valid/3.png']
    assert facts['own_data']['classes'] == ['cat', 'dog'] and facts['objects'] == 21
    assert any("'farm' is left out" in note for note in facts['notes'])


def test_the_layout_of_coco(tmp_path):
    root = tmp_path / 'coco'
    for split in ('train', 'val'):
        write(root / 'annotations', content(3), f'instances_{split}2017.json')
        write(root / 'annotations', content(3), f'person_keypoints_{split}2017.json')
        pictures(root / f'{split}2017', 3)
    facts, out = ready(root)
    assert facts['images'] == 6 and len(splits(out)['val']) == 3
    assert splits(out)['train'][0] == 'train2017/1.png'


def test_images_of_one_name_in_folders_that_nothing_tells_apart(tmp_path):
    write(tmp_path / 'a', content(3))
    for folder in ('x', 'y'):
        pictures(tmp_path / 'a' / folder, 3)
    with pytest.raises(SourceError, match='does not tell which are meant'):
        ready(tmp_path / 'a')


def test_classes_are_chosen_and_ordered(tmp_path):
    write(tmp_path / 'a', content(3))
    pictures(tmp_path / 'a', 3)
    facts, out = ready(tmp_path / 'a', classes=['dog'])
    assert facts['classes'] == dict(dog=4) and facts['empty_images'] == []
    written = json.loads((out / 'annotations/train.json').read_text())
    assert written['categories'] == [dict(id=1, name='dog')]
    with pytest.raises(SourceError, match="'cow'. are not among the classes .'cat', 'dog'"):
        ready(tmp_path / 'a', classes=['cow'], out='b')


def test_defects_are_mended_by_the_rules_for_coco_files(tmp_path):
    found = content(3)
    found['annotations'][0]['id'] = 0
    found['annotations'][1]['bbox'] = [WIDTH - 10, HEIGHT - 8, 30, 20]  # leaves the image
    found['annotations'][2]['image_id'] = 77
    del found['annotations'][3]['iscrowd']
    write(tmp_path / 'a', found)
    pictures(tmp_path / 'a', 3)
    facts, _ = ready(tmp_path / 'a')
    assert facts['objects'] == 6
    assert len(facts['mended']) == 3 and len(facts['left_out']) == 1


def test_images_that_are_missing_or_broken_are_left_out(tmp_path):
    write(tmp_path / 'a', content(6))
    pictures(tmp_path / 'a', 5)
    (tmp_path / 'a' / '2.png').write_bytes(b'no image')
    facts, out = ready(tmp_path / 'a')
    assert sorted(objects(out)) == ['1.png', '3.png', '4.png', '5.png']
    assert {k: t['count'] for k, t in facts['left_out'].items() if 'images' in k[:6]} == {
        'images do not exist': 1,
        'images cannot be read': 1,
    }


def test_most_images_are_missing(tmp_path):
    write(tmp_path / 'a', content(6))
    pictures(tmp_path / 'a', 2)
    with pytest.raises(SourceError, match=r'4 of 6 images are missing or cannot be read: .*3.png'):
        ready(tmp_path / 'a')


def test_folders_of_another_machine(tmp_path):
    found = content(3)
    for entry in found['images']:
        entry['file_name'] = f'C:\\me\\{entry["file_name"]}'
    write(tmp_path / 'a', found)
    pictures(tmp_path / 'a' / 'images', 3)
    facts, out = ready(tmp_path / 'a')
    assert len(objects(out)) == 3
    assert 'images were found by their names alone' in facts['notes'][0]


@pytest.mark.parametrize(
    ('found', 'match'),
    [
        ('{"images": [', 'it is no JSON: .* it was cut off'),
        (dict(images=[], annotations=[]), 'it has no "categories"'),
        (content(1), 'none of the 1 images .* is below .* there are 1 images'),
    ],
)
def test_what_cannot_be_used(tmp_path, found, match):
    text(tmp_path / 'a' / 'x.json', found)
    picture(tmp_path / 'a' / 'other.png')
    with pytest.raises(SourceError, match=match):
        ready(tmp_path / 'a')


EMPTY = dict(content(1), images=[], annotations=[])


def test_a_split_without_images_is_left_out(tmp_path):
    """As Roboflow writes it, if nothing was put into it."""
    for split, found in (('train', content(3)), ('valid', EMPTY)):
        write(tmp_path / 'a' / split, found, '_annotations.coco.json')
    pictures(tmp_path / 'a' / 'train', 3)
    facts, out = ready(tmp_path / 'a')
    assert facts['left_out']['files without images']['first'] == ['valid/_annotations.coco.json']
    assert [len(names) for names in splits(out).values()] == [2, 1]


@pytest.mark.parametrize(
    ('found', 'match'),
    [
        (EMPTY, 'none of the COCO files lists an image .*val.json.*; export them again'),
        (dict(content(1), images=[]), 'val.json: "images" is empty'),
        (dict(content(3), categories=[]), 'val.json: "categories" is empty'),
    ],
)
def test_a_fault_is_told_with_its_file(tmp_path, found, match):
    if found is not EMPTY:
        write(tmp_path / 'a', content(3), 'train.json')
    write(tmp_path / 'a', found, 'val.json')
    pictures(tmp_path / 'a', 3)
    with pytest.raises(SourceError, match=match):
        ready(tmp_path / 'a')


def test_blanks_around_names(tmp_path):
    found = content(3)
    found['categories'][1]['name'] = ' dog '
    found['categories'].append(dict(id=3, name='dog'))
    write(tmp_path / 'a', found)
    pictures(tmp_path / 'a', 3)
    facts, _ = ready(tmp_path / 'a')
    assert facts['classes'] == dict(cat=3, dog=4)
    assert [tally['first'] for kind, tally in facts['mended'].items() if 'blanks' in kind] == [
        ["' dog '"]
    ]


def test_boxes_that_are_corners_are_refused(tmp_path):
    found = content(3)
    for entry in found['annotations']:
        x, y, w, h = entry['bbox']
        entry['bbox'] = [x, y, x + w, y + h]
    write(tmp_path / 'a', found)
    pictures(tmp_path / 'a', 3)
    with pytest.raises(SourceError, match='boxes are corners'):
        ready(tmp_path / 'a')


def test_single_objects_that_are_marked_as_crowds(tmp_path):
    """As CVAT writes brush masks."""
    found = content(3)
    for entry in found['annotations']:
        entry['iscrowd'] = 1
    write(tmp_path / 'a', found)
    pictures(tmp_path / 'a', 3)
    with pytest.raises(SourceError, match='all 7 objects have iscrowd=1.* set --crowd-as-object'):
        ready(tmp_path / 'a')
    assert ready(tmp_path / 'a', crowd_as_object=True)[0]['objects'] == 7


def test_boxes_of_the_stored_image(tmp_path):
    found = content(3)
    write(tmp_path / 'a', found)
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures(tmp_path / 'a', 3, exif=exif)
    with pytest.raises(SourceError, match='set --apply-exif to turn the objects too'):
        ready(tmp_path / 'a')
    _, out = ready(tmp_path / 'a', apply_exif=True)
    assert objects(out)['1.png'][0][:2] == ('cat', (HEIGHT - 3 - 31, 8, 31, 20))


def test_windows_encoding(tmp_path):
    pictures(tmp_path / 'a')
    write(tmp_path / 'a', json.dumps(content()).encode('utf-16'))
    assert ready(tmp_path / 'a')[0]['format'] == 'coco'


def test_ids_of_images_that_are_lists(tmp_path):
    found = content(3)
    found['images'][1]['id'] = [2]
    pictures(tmp_path / 'a', 3)
    write(tmp_path / 'a', found)
    with pytest.raises(SourceError, match='1 entries of "images" lack an "id" or a "file_name"'):
        ready(tmp_path / 'a')


def test_half_a_character_in_a_name(tmp_path):
    """JSON may hold it as an escape, which UTF-8 cannot write."""
    found = content(3)
    found['categories'][0]['name'] = 'a\ud800'
    pictures(tmp_path / 'a', 3)
    write(tmp_path / 'a', found)
    facts, out = ready(tmp_path / 'a')
    assert json.loads((out / 'report.json').read_text(encoding='utf-8')) == facts
    assert 'a\ud800' in facts['classes']
