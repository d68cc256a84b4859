# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/report.py: what people read, and what they paste."""

from export_files import label_map, picture, yolo

from mmconvnext.data.exports.prepare import Settings, prepare
from mmconvnext.data.exports.report import own_data

BOX = '1 .5 .5 .25 .5\n'


def test_lines(tmp_path):
    lines = BOX + '0 .1 .1 .6 .1 .6 .6\nbad\n'
    root = yolo(tmp_path / "it's", {'1.png': lines, '2.png': BOX, '3.png': ''})
    _, told = prepare(root, tmp_path / 'the out', Settings())
    text = '\n'.join(told)
    rows = [line.split() for line in told]
    assert ['images', 'objects'] in rows and {row[0]: row[1:] for row in rows if row}['train'] == [
        '1',
        '2',
    ]
    assert '3 objects, 1 of them with masks; 1 images without objects' in told
    assert 'mind: 2 objects have no mask' in text and 'sizes: 3 of 64 x 48' in told
    assert 'left out: 1 lines that are no' in text and '(labels/1.txt:3: bad)' in text
    assert told[-1].strip() == (
        f"python tools/new_project.py '{tmp_path / 'the out'}' --task instance"
    )


def test_own_data_can_be_pasted(tmp_path):
    names = ["it's", '\u00e4\u00f6', 'a "b"', *(f'class {i}' for i in range(200))]
    own = dict(root='data/x', classes=names, train=dict(images='i', annotations='a.json'))
    space: dict = {}
    exec(own_data(own), space)
    assert space['own_data'] == own
    assert max(map(len, own_data(own).splitlines())) <= 100


def test_many_classes_are_cut_off(tmp_path):
    names = ', '.join(f'c{i}' for i in range(30))
    lines = ''.join(f'{i} .5 .5 .2 .2\n' for i in range(30))
    root = yolo(tmp_path / 'a', {'1.png': lines, '2.png': lines}, f'names: [{names}]\n')
    facts, told = prepare(root, tmp_path / 'out', Settings())
    assert '  ... and 10 classes more, in report.json' in told and len(facts['classes']) == 30


def test_label_maps(tmp_path):
    root = tmp_path / 'a'
    for i in '12':
        picture(root / 'images' / f'{i}.jpg')
        label_map(root / 'labels' / f'{i}.png', {(0, 0, 16, 48): 255})
    _, told = prepare(root, tmp_path / 'out', Settings())
    assert ['foreground', '1', '1', '25.0%', 'of', 'the', 'pixels'] in [row.split() for row in told]
    assert told[-1].endswith('--task semantic')


def test_the_task_is_that_of_a_new_project(tmp_path):
    polygon = '0 .1 .1 .6 .1 .6 .6\n'
    for name, lines, task in (('a', BOX, 'detection'), ('b', polygon, 'instance')):
        root = yolo(tmp_path / name, {'1.png': lines, '2.png': lines})
        facts, told = prepare(root, tmp_path / f'{name}-out', Settings())
        assert facts['task'] == task and facts['own_data']['root'] == str(tmp_path / f'{name}-out')
        assert told[-1].endswith(f'--task {"det" if task == "detection" else task}')
