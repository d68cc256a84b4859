# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/voc.py: XML files beside the images or in folders of their own."""

import pytest
from export_files import objects, picture, ready, splits, text, voc, voc_object

from mmconvnext.data.exports.folder import SourceError

BOX = (11, 6, 30, 25)  # 20 x 20 pixels, counted from 1


def test_boxes_are_pixels_counted_from_1(tmp_path):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png')
        voc(root / f'{i}.xml', f'{i}.png', voc_object('cat', BOX))
    facts, out = ready(root)
    assert objects(out)['1.png'] == [('cat', (10, 5, 20, 20), None)]
    assert 'boxes are pixels counted from 1, as in the VOC devkit' in facts['notes']


@pytest.mark.parametrize('corner', ['0', '11.5'])
def test_points_if_one_corner_is_no_such_pixel(tmp_path, corner):
    """As CVAT and Label Studio write: all boxes of the folder then begin at 0."""
    root = tmp_path / 'a'
    for i, box in (('1', BOX), ('2', (corner, 6, 30, 25))):
        picture(root / f'{i}.png')
        voc(root / f'{i}.xml', f'{i}.png', voc_object('cat', box))
    assert objects(ready(root)[1])['1.png'] == [('cat', (11, 6, 19, 19), None)]


def test_the_devkits_folders(tmp_path):
    """Sets of images; label maps of the same names, which are no images; JPG in capitals."""
    root = tmp_path / 'VOC2012'
    for i in range(4):
        picture(root / 'JPEGImages' / f'{i}.JPG')
        picture(root / 'SegmentationClass' / f'{i}.png')
        voc(root / 'Annotations' / f'{i}.xml', f'{i}.jpg', voc_object('dog', BOX))
    text(root / 'ImageSets' / 'Main' / 'train.txt', '0\n1\n3\n')
    text(root / 'ImageSets' / 'Main' / 'val.txt', '2\n')
    text(root / 'ImageSets' / 'Main' / 'dog_val.txt', '0 -1\n')
    facts, out = ready(root)
    assert splits(out) == dict(train=['0.JPG', '1.JPG', '3.JPG'], val=['2.JPG'])
    assert not facts['left_out']


def test_two_images_of_one_name_in_different_folders(tmp_path):
    root = tmp_path / 'a'
    for folder, name in (('north', 'cat'), ('south', 'dog')):
        for i in '12':
            picture(root / folder / f'{i}.png')
            voc(root / folder / f'{i}.xml', f'{i}.png', voc_object(name, BOX))
    found = objects(ready(root)[1])
    assert len(found) == 4
    assert found['north/1.png'][0][0] == 'cat' and found['south/1.png'][0][0] == 'dog'


def test_fields_of_objects(tmp_path):
    root, part = tmp_path / 'a', '<part><name>head</name></part>'
    reversed_ = voc_object('cat', (30, 25, 11, 6), part)
    difficult = voc_object('dog', BOX, '<difficult>1</difficult>')
    deleted = voc_object('dog', BOX, '<deleted>1</deleted>')
    nameless, boxless = voc_object(' ', BOX), '<object><name>cat</name></object>'
    turned = '<cx>31</cx><cy>21</cy><w>20</w><h>10</h><angle>1.5707963</angle>'
    turned = f'<object><name>dog</name><robndbox>{turned}</robndbox></object>'
    entries = reversed_ + difficult + deleted + nameless + boxless + turned
    for i in '12':
        picture(root / f'{i}.png')
        voc(root / f'{i}.xml', f'{i}.png', entries if i == '1' else reversed_)
    facts, out = ready(root)
    assert [row[:2] for row in objects(out)['1.png']] == [
        ('cat', (10, 5, 20, 20)),
        ('dog', (10, 5, 20, 20)),  # difficult
        ('dog', (26, 11, 10, 20)),
    ]
    assert facts['regions_to_ignore'] == 1 and facts['objects'] == 3
    assert [tally['count'] for tally in facts['left_out'].values()] == [1, 1, 1]


def test_polygons(tmp_path):
    """Roboflow's <x1>, and <pt> of LabelMe's old web page, which has no boxes."""
    root = tmp_path / 'a'
    points = [(11, 6), (30.5, 6), (20, 25)]
    robo = ''.join(f'<x{i}>{x}</x{i}><y{i}>{y}</y{i}>' for i, (x, y) in enumerate(points, 1))
    old = ''.join(f'<pt><x>{x}</x><y>{y}</y></pt>' for x, y in points)
    for i, inner in (('1', robo), ('2', old)):
        picture(root / f'{i}.png')
        entry = f'<object><name>cat</name><polygon>{inner}</polygon></object>'
        voc(root / f'{i}.xml', f'{i}.png', entry)
    found = objects(ready(root)[1])
    assert found['1.png'] == found['2.png']
    assert found['1.png'][0][1] == (11, 6, 19.5, 19) and 170 < found['1.png'][0][2] < 200


def test_what_cannot_be_read_is_left_out(tmp_path):
    root = tmp_path / 'a'
    for i in '1234':
        picture(root / f'{i}.png')
    for i in '12':
        voc(root / f'{i}.xml', f'{i}.png', voc_object('cat', BOX))
    text(root / '3.xml', '<annotation><filename>3.png</filename>')
    bomb = '<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'
    text(root / '4.xml', f'<?xml version="1.0"?>{bomb}<annotation>&b;</annotation>')
    voc(root / '5.xml', '5.png', voc_object('cat', BOX))
    facts, out = ready(root)
    counts = {kind: tally['count'] for kind, tally in facts['left_out'].items()}
    assert list(counts.values()) == [2, 1, 2] and len(objects(out)) == 2
    first = facts['left_out']['files that are no XML']['first']
    assert 'no element found' in first[0] and 'it defines entities' in first[1]


def test_nothing_can_be_used(tmp_path):
    voc(tmp_path / 'a' / '1.xml', '1.png', voc_object('cat', BOX))
    with pytest.raises(SourceError, match=r'none of the 1 files .* without an image of their name'):
        ready(tmp_path / 'a')


def test_sizes_must_be_those_of_the_images(tmp_path):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png', (100, 48))
        voc(root / f'{i}.xml', f'{i}.png', voc_object('cat', BOX))
    with pytest.raises(SourceError, match='64 x 48 listed, 100 x 48 in the file'):
        ready(root)


def test_no_object_can_be_used(tmp_path):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png')
        voc(root / f'{i}.xml', f'{i}.png', '<object><name>cat</name></object>')
    with pytest.raises(SourceError, match='no object is left on 2 images: 2 objects without a box'):
        ready(root)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_a_namespace_and_windows_encoding(tmp_path, encoding):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png')
        file = voc(root / f'{i}.xml', f'{i}.png', voc_object('cat', BOX))
        content = file.read_text().replace('<annotation>', '<annotation xmlns="http://a.b/voc">')
        file.write_bytes(content.encode(encoding))
    facts, out = ready(root)
    assert facts['format'] == 'voc' and objects(out)['1.png'] == [('cat', (10, 5, 20, 20), None)]
