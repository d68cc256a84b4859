# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/labelme.py: a JSON for each image."""

import base64
import io
import math

import numpy as np
import pytest
from export_files import labelme, objects, picture, ready, text
from PIL import Image

from mmconvnext.data.exports.folder import SourceError

BOX = dict(label='cat', points=[[30.5, 25], [10.25, 5]], shape_type='rectangle')
POLYGON = dict(label='dog', points=[[10, 5], [30, 5.5], [30, 25]], shape_type='polygon')


def folder(tmp_path, shapes, **changes):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png')
        labelme(root / f'{i}.json', shapes if i == '1' else [BOX], **changes)
    return root


def png(mask: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(mask).save(content, 'PNG')
    return base64.b64encode(content.getvalue()).decode()


def test_shapes(tmp_path):
    circle = dict(label='cat', points=[[32, 24], [35, 28]], shape_type='circle')  # of radius 5
    part = np.zeros((10, 12), bool)
    part[2:, 3:] = True
    mask = dict(label='dog', points=[[40, 30], [51, 39]], shape_type='mask', mask=png(part))
    old = {k: v for k, v in POLYGON.items() if k != 'shape_type'}
    facts, out = ready(folder(tmp_path, [BOX, POLYGON, circle, mask, old]))
    found = objects(out)['1.png']
    assert found[0] == ('cat', (10.25, 5, 20.25, 20), None)
    assert found[1][:2] == ('dog', (10, 5, 20, 20)) and 185 < found[1][2] < 205
    assert found[2][:2] == ('cat', (27, 19, 10, 10))
    assert abs(found[2][2] - 25 * math.pi) < 4
    assert found[3] == ('dog', (43, 32, 9, 8), 72)
    assert found[4] == found[1]
    assert facts['classes'] == dict(cat=3, dog=3) and not facts['left_out']


def test_a_group_is_one_object(tmp_path):
    parts = [
        dict(POLYGON, group_id=1),
        dict(POLYGON, group_id=1, points=[[50, 40], [60, 40], [60, 46]]),
        dict(POLYGON, group_id=2, label='cat'),
        dict(BOX, group_id=2),  # the outline of the cat of that group
        dict(BOX, group_id=3, label='dog'),
        dict(BOX, group_id=3, label='dog'),  # two boxes are two objects
    ]
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png')
    labelme(root / '2.json', [BOX])
    content = labelme(root / '1.json', [])
    content.unlink()
    text(content, dict(version='4', shapes=parts, imagePath='1.png', imageWidth=64, imageHeight=48))
    found = objects(ready(root)[1])['1.png']
    assert [row[:2] for row in found] == [
        ('dog', (10, 5, 50, 41)),
        ('cat', (10, 5, 20, 20)),
        ('dog', (10.25, 5, 20.25, 20)),
        ('dog', (10.25, 5, 20.25, 20)),
    ]


def test_shapes_that_are_no_objects(tmp_path):
    point = dict(label='cat', points=[[3, 4]], shape_type='point')
    line = dict(label='cat', points=[[3, 4], [9, 9], [4, 9]], shape_type='linestrip')
    wrong = [
        dict(POLYGON, points=[[1, 1], [2, 2]]),
        dict(POLYGON, points='no'),
        dict(label='cat', points=[[0, 0], [5, 5]], shape_type='mask', mask='%%'),
    ]
    nameless = [dict(BOX, label=''), dict(BOX, label='__ignore__')]
    facts, out = ready(folder(tmp_path, [point, line, *wrong, *nameless, BOX]))
    assert [tally['count'] for tally in facts['left_out'].values()] == [2, 3, 2]
    assert facts['left_out']['shapes without an area (points and lines)']['first'] == [
        '1.json:1: point',
        '1.json:2: linestrip',
    ]
    assert len(objects(out)['1.png']) == 1


@pytest.mark.parametrize('path', ['C:\\data\\1.png', '..\\x\\1.png', '/mnt/me/gone.png', ''])
def test_the_image_is_found_by_its_name_or_that_of_the_file(tmp_path, path):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png')
        labelme(root / f'{i}.json', [BOX], imagePath=path.replace('1', i))
    assert sorted(objects(ready(root)[1])) == ['1.png', '2.png']


def test_images_that_are_only_in_the_json(tmp_path):
    root = tmp_path / 'a'
    picture(tmp_path / 'p.png')
    data = base64.b64encode((tmp_path / 'p.png').read_bytes()).decode()
    for i in '12':
        labelme(root / 'x' / f'{i}.json', [BOX], imageData=data, imageWidth=None)
    labelme(root / 'x' / '3.json', [BOX], imageData='%%')
    facts, out = ready(root)
    assert [row[1] for row in objects(out)['1.png']] == [(10.25, 5, 20.25, 20)]
    assert not (out / 'images/1.png').is_symlink() and not (out / 'embedded').exists()
    assert (out / 'images/1.png').read_bytes() == (tmp_path / 'p.png').read_bytes()
    assert facts['left_out']['files without their image']['first'] == ['x/3.json']
    assert sorted(path.name for path in (root / 'x').iterdir()) == ['1.json', '2.json', '3.json']


def test_broken_files_and_unlabelled_images(tmp_path):
    root = folder(tmp_path, [BOX])
    text(root / '3.json', '{"version": "5", "shapes": [')
    picture(root / '3.png')
    facts, out = ready(root)
    assert {k: t['first'] for k, t in facts['left_out'].items()} == {
        'files that are no JSON of LabelMe': ['3.json'],
        'images without a file of annotations': ['3.png'],
    }
    (root / '1.json').unlink()
    (root / '2.json').unlink()
    with pytest.raises(SourceError, match='none of the 1 files .* no JSON of LabelMe'):
        ready(root, out='b')


def test_no_shape_can_be_used(tmp_path):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / f'{i}.png')
        labelme(root / f'{i}.json', [dict(BOX, label=' '), dict(BOX, points=[[1, 2]])])
    match = 'no object is left on 2 images: 2 shapes without a label .*; 2 shapes whose points'
    with pytest.raises(SourceError, match=match):
        ready(root)


def test_blanks_around_labels(tmp_path):
    facts, _ = ready(
        folder(tmp_path, [dict(BOX, label='cat '), dict(POLYGON, label=' __ignore__')])
    )
    assert facts['classes'] == dict(cat=2)
    assert [tally['first'] for tally in facts['mended'].values()] == [["'cat '"]]


def test_turned_rectangles_and_other_spellings(tmp_path):
    points = [[10, 5], [20, 15], [15, 20], [5, 10]]
    turned = dict(label='dog', points=points, shape_type='rotation')
    loud = dict(BOX, shape_type=' Rectangle')
    facts, out = ready(folder(tmp_path, [turned, loud, dict(BOX, shape_type='Point')]))
    found = objects(out)['1.png']
    assert [one[:2] for one in found] == [
        ('dog', (5, 5, 16, 16)), ('cat', (10.25, 5, 20.25, 20)),
    ]  # fmt: skip
    assert found[0][2] == pytest.approx(100, abs=30)
    (left,) = facts['left_out'].values()
    assert left['count'] == 1


def test_windows_encoding(tmp_path):
    root = folder(tmp_path, [BOX])
    for file in root.glob('*.json'):
        file.write_bytes(file.read_text().encode('utf-16'))
    assert ready(root)[0]['objects'] == 2
