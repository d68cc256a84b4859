# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/cvat.py: "CVAT for images 1.1"."""

import pytest
from export_files import objects, picture, ready, splits, text

from mmconvnext.data.exports.cvat import UNUSABLE
from mmconvnext.data.exports.folder import SourceError

META = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id><labels>
<label><name>cat</name><color>#aa0000</color></label><label><name>dog</name></label>
</labels></task><dumped>2026-01-01</dumped></meta>
"""
BOX = '<box label="dog" xtl="10.25" ytl="5.0" xbr="30.5" ybr="25.0" z_order="0"></box>'


def image(name, shapes, **more):
    more = ''.join(f' {key}="{value}"' for key, value in more.items())
    return f'<image id="0" name="{name}" width="64" height="48"{more}>{shapes}</image>'


def export(root, *images):
    return text(root / 'annotations.xml', META + ''.join(images) + '</annotations>').parent


def test_shapes(tmp_path):
    points = '10.00,5.00;30.00,5.50;30.00,25.00'
    shapes = [
        BOX,
        f'<polygon label="cat" points="{points}"></polygon>',
        '<mask label="cat" rle="3, 5, 1, 1" left="40" top="30" width="5" height="2"></mask>',
        '<ellipse label="dog" cx="32" cy="24" rx="10" ry="4"></ellipse>',
        '<box label="dog" xtl="20" ytl="20" xbr="40" ybr="30" rotation="90.0"></box>',
        '<points label="cat" points="1,2"></points>',
        '<tag label="cat"></tag>',
        '<polygon label="cat" points="1,2;3,4"></polygon>',
        '<mask label="cat" rle="3, 5" left="40" top="30" width="5" height="2"></mask>',
    ]
    root = export(tmp_path / 'a', image('1.png', ''.join(shapes)), image('2.png', BOX))
    for i in '12':
        picture(root / 'images' / f'{i}.png')
    facts, out = ready(root)
    found = objects(out)['1.png']
    assert found[0] == ('dog', (10.25, 5, 20.25, 20), None)
    assert found[1][:2] == ('cat', (10, 5, 20, 20))
    # Three pixels outside, two inside; the second row: three inside, one outside, one inside.
    assert found[2] == ('cat', (40, 30, 5, 2), 6)
    assert found[3][:2] == ('dog', (22, 20, 20, 8)) and 118 < found[3][2] < 132
    assert found[4][:2] == ('dog', (25, 15, 10, 20)) and found[4][2] == 200
    assert [tally['count'] for tally in facts['left_out'].values()] == [2, 2]
    assert facts['classes'] == dict(cat=2, dog=4)


def test_a_group_is_one_object(tmp_path):
    mask = '<mask label="cat" rle="0, 10" left="40" top="30" width="5" height="2" group_id="{}"/>'
    box = '<box label="cat" xtl="40" ytl="30" xbr="45" ybr="32" group_id="{}"/>'
    polygon = '<polygon label="cat" points="2,3;9,3;9,12;2,12" group_id="{}"/>'
    shapes = [mask.format(1), box.format(1), polygon.format(1), box.format(2), polygon.format(0)]
    root = export(tmp_path / 'a', image('1.png', ''.join(shapes)), image('2.png', BOX))
    for i in '12':
        picture(root / f'{i}.png')
    assert objects(ready(root)[1])['1.png'] == [
        ('cat', (2, 3, 43, 29), 73),  # 10 pixels and 7 x 9
        ('cat', (40, 30, 5, 2), None),
        ('cat', (2, 3, 7, 9), 63),
    ]


def test_subsets_and_images_of_one_name(tmp_path):
    images = [
        image('1.png', BOX, subset='Train'),
        image('1.png', BOX.replace('dog', 'cat'), subset='Validation'),
        image('2.png', '', subset='Train'),
        image('gone.png', BOX),
    ]
    root = export(tmp_path / 'a', *images)
    for name in ('Train/1.png', 'Validation/1.png', 'Train/2.png'):
        picture(root / 'images' / name)
    facts, out = ready(root)
    assert splits(out) == dict(train=['Train/1.png', 'Train/2.png'], val=['Validation/1.png'])
    assert objects(out)['Validation/1.png'][0][0] == 'cat'
    assert facts['empty_images'] == ['Train/2.png']
    assert [tally['first'] for tally in facts['left_out'].values()] == [['gone.png']]


@pytest.mark.parametrize(
    'shape',
    [
        '<polygon label="cat"></polygon>',
        '<polygon label="cat" points=""></polygon>',
        '<polygon label="cat" points="1,2;3,4"></polygon>',
        '<mask label="cat" left="1" top="2" width="3" height="1"></mask>',
        '<mask label="cat" rle="1,2" top="2" width="3" height="1"></mask>',
        '<ellipse label="cat" cx="1" cy="2" rx="3"></ellipse>',
        '<box label="cat" xtl="1" ytl="2" xbr="x" ybr="4"></box>',
    ],
)
def test_shapes_that_lack_numbers_are_left_out(tmp_path, shape):
    root = export(tmp_path / 'a', image('1.png', shape + BOX), image('2.png', BOX))
    for i in '12':
        picture(root / f'{i}.png')
    facts, out = ready(root)
    assert facts['left_out'] == {UNUSABLE: dict(count=1, first=['1.png:1'])}
    assert facts['classes'] == dict(cat=0, dog=2)


@pytest.mark.parametrize('label', ['label=""', 'label="  "', ''])
def test_shapes_without_a_label_are_left_out(tmp_path, label):
    unlabelled = BOX.replace('label="dog"', label)
    root = export(tmp_path / 'a', image('1.png', unlabelled + BOX), image('2.png', BOX))
    for i in '12':
        picture(root / f'{i}.png')
    facts, out = ready(root)
    assert facts['left_out'] == {'shapes without a label': dict(count=1, first=['1.png:1'])}
    assert facts['classes'] == dict(cat=0, dog=2)
    root = export(tmp_path / 'b', image('1.png', unlabelled))
    picture(root / '1.png')
    with pytest.raises(SourceError, match='no object is left on 1 images: 1 shapes without a la'):
        ready(root, out='c')


def test_blanks_around_labels(tmp_path):
    odd = BOX.replace('"dog"', '" dog "')
    root = export(tmp_path / 'a', image('1.png', odd + BOX), image('2.png', BOX))
    for i in '12':
        picture(root / f'{i}.png')
    facts, _ = ready(root)
    assert facts['classes'] == dict(cat=0, dog=3)
    assert [tally['first'] for tally in facts['mended'].values()] == [["' dog '"]]


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        ('<annotations><track id="0"/></annotations>', 'is "CVAT for video": export "CVAT for im'),
        ('<annotations><version>1.1</version></annotations>', 'is without images: export'),
        ('<annotations><image', 'cannot be read as XML'),
        (META + image('1.png', BOX) + '</annotations>', 'none of the images .* "Save images"'),
    ],
)
def test_what_cannot_be_used(tmp_path, content, match):
    file = text(tmp_path / 'a' / 'annotations.xml', content)
    with pytest.raises(SourceError, match=match):
        ready(file.parent)
