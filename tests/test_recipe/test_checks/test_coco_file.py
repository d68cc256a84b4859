# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/coco_file.py: categories and annotated ids, as parsing the file would give them."""

import json

import pytest

from mmconvnext.recipe.checks.coco_file import ids_with_objects, read_categories
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.parametrize(
    'text',
    [
        '{"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b, [c]"}], "images": []}',
        '{"images": [], "categories":[{"name":"a","id":1},{"name":"b, [c]","id":2}]}',
        '{\n "categories" :\r\n [\n {"id": 1, "name": "a"},\n {"id": 2, "name": "b, [c]"} ]\n}\n',
    ],
)
def test_categories_are_read_wherever_they_stand(tmp_path, text):
    file = tmp_path / 'a.json'
    file.write_bytes(text.encode())
    assert read_categories(str(file)) == [(1, 'a'), (2, 'b, [c]')]


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('value', [['x'], [dict(id=5, name='x')], 'x'], ids=str)
def test_another_key_or_value_of_that_name(tmp_path, value, first):
    categories = dict(categories=[dict(id=1, name='"categories"'), dict(id=2, name='categories')])
    images = dict(images=[dict(id=1, categories=value, kind='categories')])
    content = {**categories, **images} if first else {**images, **categories}
    file = tmp_path / 'a.json'
    file.write_text(json.dumps(content))
    assert read_categories(str(file)) == [(1, '"categories"'), (2, 'categories')]


@pytest.mark.parametrize('ids', [(1, 2), ('a', 'b'), (0.5, 1.5)], ids=str)
def test_ids_of_any_type_that_pycocotools_sorts(tmp_path, ids):
    file = tmp_path / 'a.json'
    file.write_text(json.dumps(dict(categories=[dict(id=i, name=f'c{i}') for i in ids])))
    assert [category.id for category in read_categories(str(file))] == list(ids)


def test_names_in_any_script(tmp_path):
    file = tmp_path / 'a.json'
    names = ['Gr\xf6\xdfe 1', '\u72ac']
    for ascii_only in (True, False):
        content = dict(categories=[dict(id=i, name=name) for i, name in enumerate(names)])
        file.write_bytes(json.dumps(content, ensure_ascii=ascii_only).encode())
        assert [category.name for category in read_categories(str(file))] == names


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'is not a COCO annotation file: it is empty'),
        ('{"images": []}', 'is not a COCO annotation file: it has no "categories"'),
        ('[{"images": []}]', 'is not a COCO annotation file: it has no "categories"'),
        ('{"images": "categories"}', 'is not a COCO annotation file: it has no "categories"'),
        ('{"categories": [{"id": 1}]}', r"""its "categories" cannot be read \(one has no 'name'"""),
        ('{"categories": [{"name": "a"}]}', r"""cannot be read \(one has no 'id'"""),
        ('{"categories": [{"id": 1, "na', 'its "categories" cannot be read'),
        ('{"categories": ["a", "b"]}', 'its "categories" cannot be read'),
        ('{"categories": {"a": 1}}', 'its "categories" cannot be read'),
        ('{"categories": 5}', 'its "categories" cannot be read'),
    ],
)
def test_files_that_are_not_coco(tmp_path, text, message):
    file = tmp_path / 'a.json'
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_categories(str(file))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(RecipeError, match='is not a COCO annotation file: it is a folder'):
        read_categories(str(tmp_path))


@pytest.mark.parametrize(
    'entries, message',
    [
        ([(1, 5)], r'has the category name 5, which is not a string; write "5"'),
        ([(1, None)], 'has the category name None'),
        ([(1, 'a'), ('2', 'b')], r"category ids of mixed or invalid types: '2'; renumber"),
        ([(None, 'a')], 'of mixed or invalid types: None'),
    ],
)
def test_names_and_ids_of_other_types(tmp_path, entries, message):
    file = tmp_path / 'a.json'
    categories = [dict(id=i, name=name) for i, name in entries]
    file.write_text(json.dumps(dict(categories=categories)))
    with pytest.raises(RecipeError, match=message):
        read_categories(str(file))


def test_ids_that_an_annotation_has(tmp_path):
    file = tmp_path / 'a.json'
    ids = [3, 12, 0, '7', 3]
    annotations = [dict(id=i, category_id=c) for i, c in enumerate(ids)]
    for indent in (None, 1):
        file.write_text(json.dumps(dict(annotations=annotations), indent=indent))
        assert ids_with_objects(str(file), {0, 1, 2, 3, 7, 12}) == {0, 3, 12}
        assert ids_with_objects(str(file), {'7', '3'}) == {'7'}
        assert ids_with_objects(str(file), set()) == set()
    for numbers in (ids, [3.0]):
        annotations = [dict(category_id=c) for c in numbers]
        file.write_text(json.dumps(dict(annotations=annotations)))
        assert ids_with_objects(str(file), {3.0, 4.0}) == {3}  # as pandas writes them
