# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/coco_files.py: both files are what COCO's own code and labelling tools read."""

import json

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmconvnext.inference.coco import annotations
from mmconvnext.inference.coco_files import Ids, write_coco
from mmconvnext.inference.records import Records
from mmconvnext.recipe.errors import RecipeError

from .conftest import CLASSES, found


def record(name, boxes, labels) -> dict:
    rows = annotations(found(boxes, labels), 30, 40)
    return dict(source=name, stamp=[], name=name, key=name, size=[40, 30], objects=rows)


@pytest.fixture
def records(tmp_path):
    with Records(tmp_path / 'out', {}) as records:
        records.add(record('s/b.jpg', [[1, 2, 11, 22], [5, 5, 9, 9]], [2, 0]))
        records.add(record('a.jpg', [], []))
        records.add(record('c.jpg', [[3, 4, 13, 14]], [1]))
        yield records


def test_a_data_set_and_results(records):
    results, data_set = write_coco(records, Ids(CLASSES))
    content = json.loads(data_set.read_text())
    assert [(i['id'], i['file_name']) for i in content['images']] == [
        (1, 's/b.jpg'),
        (2, 'a.jpg'),
        (3, 'c.jpg'),
    ]
    assert [c['id'] for c in content['categories']] == [1, 2, 3]
    assert [a['id'] for a in content['annotations']] == [1, 2, 3]
    assert [a['image_id'] for a in content['annotations']] == [1, 1, 3]
    assert len(COCO(data_set).loadRes(str(results)).anns) == 3
    assert set(json.loads(results.read_text())[0]) == {
        'file_name',
        'image_id',
        'category_id',
        'bbox',
        'score',
    }


def test_ids_of_annotations_let_coco_evaluate(records, tmp_path):
    truth = dict(
        images=[
            dict(id=50, file_name='x/c.jpg', width=40, height=30),
            dict(id=9, file_name='b.jpg', width=40, height=30),
        ],
        categories=[dict(id=i, name=n) for i, n in ((90, 'emu'), (4, 'cat'), (30, 'dog'))],
        annotations=[
            dict(id=1, image_id=9, category_id=90, bbox=[1, 2, 10, 20], area=200, iscrowd=0),
            dict(id=2, image_id=9, category_id=4, bbox=[5, 5, 4, 4], area=16, iscrowd=0),
            dict(id=3, image_id=50, category_id=30, bbox=[3, 4, 10, 10], area=100, iscrowd=0),
        ],
    )
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    results, data_set = write_coco(records, Ids(CLASSES, str(tmp_path / 'truth.json')))
    ids = {i['file_name']: i['id'] for i in json.loads(data_set.read_text())['images']}
    assert ids == {'s/b.jpg': 9, 'a.jpg': 51, 'c.jpg': 50}  # a.jpg is not in the file
    rows = [row for row in json.loads(results.read_text()) if row['image_id'] != 51]
    truth = COCO(tmp_path / 'truth.json')
    evaluation = COCOeval(truth, truth.loadRes(rows), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_files_that_give_no_ids_are_refused(tmp_path):
    with pytest.raises(RecipeError, match='--ids-of: .*none.json cannot be read as a COCO file'):
        Ids(CLASSES, str(tmp_path / 'none.json'))
    (tmp_path / 'a.json').write_text('{"images": [], "categories": [{"id": 1, "name": "cow"}]}')
    with pytest.raises(RecipeError, match="no category 'cat', which the model knows; it has cow"):
        Ids(CLASSES, str(tmp_path / 'a.json'))
    (tmp_path / 'a.json').write_text('[]')
    with pytest.raises(RecipeError, match='cannot be read as a COCO file'):
        Ids(CLASSES, str(tmp_path / 'a.json'))


def images(*pairs) -> list[dict]:
    return [dict(id=i, file_name=name, width=40, height=30) for i, name in pairs]


@pytest.fixture
def ids_of(tmp_path):
    def make(*pairs) -> Ids:
        categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES)]
        content = dict(images=images(*pairs), categories=categories)
        (tmp_path / 'truth.json').write_text(json.dumps(content))
        return Ids(CLASSES, str(tmp_path / 'truth.json'))

    return make


def test_folders_tell_images_of_one_name_apart(ids_of):
    ids = ids_of((11, 'a/1.png'), (22, 'b/1.png'))
    assert ids.image('1.png', '/data/b/1.png') == 22
    assert ids.image('1.png', '/data/a/1.png') == 11
    assert ids.image('1.png', '/data/c/1.png') == 23  # neither of them
    assert ids.image('1.png', '/data/c/1.png') == 23
    ids = ids_of((11, '1.png'), (22, 'b/1.png'))
    assert ids.image('1.png', '/data/b/1.png') == 11  # its own name
    assert ids.image('x/b/1.png', '/data/x/b/1.png') == 22


def test_one_listed_image_is_not_two(ids_of):
    ids = ids_of((11, '1.png'))
    assert ids.image('a/1.png', '/data/a/1.png') == 11
    with pytest.raises(RecipeError, match="'1.png' in .* could be /data/a/1.png or /data/b/1.png"):
        ids.image('b/1.png', '/data/b/1.png')


def test_images_of_one_name_have_ids_of_their_own():
    ids = Ids(CLASSES)
    assert [ids.image('1.png', f'/{folder}/1.png') for folder in 'aba'] == [1, 2, 1]
