# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/gather.py: masks that pycocotools cannot read do not reach what is written."""

import json
from math import nan

import pytest
from PIL import Image

from mmconvnext.data.exports.prepare import Settings, prepare

SOUND = [[1, 1, 9, 1, 9, 9]]
BROKEN = [
    [[1, 1, 5, 5]],
    [[1, 1, nan, 5, 9, 1]],  # pycocotools takes all memory
    'abc',
    dict(counts=None, size=[48, 64]),
    dict(counts='zzzz', size=[48, 64]),
    dict(counts=[5, 10], size='big'),
    dict(counts=[5, 10, 100], size=[5, 23]),
]


def made(folder, broken):
    objects = [SOUND, SOUND, broken, broken]
    for i in range(4):
        Image.new('RGB', (64, 48)).save(folder / f'{i}.png')
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=64, height=48) for i in range(4)],
        categories=[dict(id=1, name='a')],
        annotations=[
            dict(id=i + 1, image_id=i, category_id=1, bbox=[1, 1, 8, 8], area=64, iscrowd=0)
            | dict(segmentation=value)
            for i, value in enumerate(objects)
        ],
    )
    (folder / 'a.json').write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize('task', ['instance', 'semantic'])
@pytest.mark.parametrize('broken', BROKEN)
def test_a_broken_mask_is_counted_and_left_out(tmp_path, broken, task):
    (tmp_path / 'src').mkdir()
    source = made(tmp_path / 'src', broken)
    facts, lines = prepare(source, tmp_path / 'out', Settings(task=task))
    assert any('2 masks that cannot be read' in line for line in lines), lines
    if task == 'instance':
        assert (facts['objects'], facts['masks']) == (4, 2)
