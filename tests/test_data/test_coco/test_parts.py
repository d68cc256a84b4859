# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/parts.py: a file is divided into two, or holds the chosen images."""

import json

import coco_files as files
import pytest

from mmconvnext.data.coco import parts as module
from mmconvnext.data.coco.parts import chosen, divided


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/mmconvnext/splits'


def load(file) -> dict:
    return json.loads(file.read_text())


def names(file) -> list:
    return [entry['file_name'] for entry in load(file)['images']]


def test_every_image_and_object_is_in_one_part(tmp_path):
    found = files.content(10)
    train, val = divided(files.write(tmp_path, found), 0.2)
    assert len(names(train)) == 8 and len(names(val)) == 2
    assert sorted(names(train) + names(val)) == sorted(e['file_name'] for e in found['images'])
    for part in (train, val):
        content = load(part)
        images = {entry['id'] for entry in content['images']}
        assert {entry['image_id'] for entry in content['annotations']} == images
        assert content['categories'] == found['categories']
    assert len(load(train)['annotations']) + len(load(val)['annotations']) == 21


def test_the_same_parts_every_time_and_others_for_another_fraction(tmp_path, cache):
    file = files.write(tmp_path, files.content(10))
    first = divided(file, 0.2)
    stamps = [part.stat().st_mtime_ns for part in first]
    assert divided(file, 0.2) == first
    assert [part.stat().st_mtime_ns for part in first] == stamps
    assert divided(file, 0.3) != first
    first[1].unlink()
    assert divided(file, 0.2)[1].is_file()


def test_ids_of_other_types_and_odd_entries(tmp_path):
    found = files.content(4)
    for entry in found['annotations']:
        entry['image_id'] = str(entry['image_id'])
    found['annotations'] += [None, dict(id=90, image_id=99, category_id=1)]
    train, val = divided(files.write(tmp_path, found), 0.5)
    assert len(load(val)['annotations']) + len(load(train)['annotations']) == 11
    # What belongs to no image is told once, about the training data.
    assert None in load(train)['annotations'] and None not in load(val)['annotations']


def test_what_cannot_be_read_is_left_to_the_checks(tmp_path):
    file = files.write(tmp_path, '{')
    assert divided(file, 0.2) == (file, file)
    assert divided(tmp_path, 0.2) == (tmp_path, tmp_path)
    assert chosen(file, ['1']) == file


def test_a_file_of_two_ids_is_in_one_part_with_both(tmp_path):
    found = files.content(9)
    for first, second in ((0, 4), (1, 5), (2, 8)):
        found['images'][second]['file_name'] = './' + found['images'][first]['file_name']
    parts = divided(files.write(tmp_path, found), 0.5)
    entries = [[names(part), load(part)['annotations']] for part in parts]
    assert len(entries[0][0]) + len(entries[1][0]) == 9
    assert len(entries[0][1]) + len(entries[1][1]) == 19
    one, other = ({name.removeprefix('./') for name in listed} for listed, _ in entries)
    assert not one & other and len(one | other) == 6
    part = chosen(files.write(tmp_path, found), ['1'])
    assert names(part) == ['1.png', './1.png']


def test_a_home_that_cannot_be_written_to(tmp_path, monkeypatch):
    file = files.write(tmp_path, files.content(4))
    monkeypatch.setenv('XDG_CACHE_HOME', str(file))
    with pytest.raises(ValueError, match=r'a-\w+-train\.json cannot be written .* XDG_CACHE_HOME'):
        divided(file, 0.5)


def test_ids_that_are_off_by_one_are_refused_before_the_file_is_divided(tmp_path, cache):
    """A part lists other images, so the neighbours would be taken without a word."""
    found = files.content(4)
    for entry in found['annotations']:
        entry['image_id'] -= 1
    file = files.write(tmp_path, found)
    for _ in range(2):
        with pytest.raises(ValueError, match=r'a\.json: "image_id" of all objects seems to be one'):
            divided(file, 0.5)
        with pytest.raises(ValueError, match='refer to 0 to 3, the images have the ids 1 to 4'):
            chosen(file, ['2'])
    assert not [*cache.glob('*.json')]


def test_too_few_images(tmp_path):
    with pytest.raises(ValueError, match='two images are needed'):
        divided(files.write(tmp_path, files.content(1)), 0.5)


def test_chosen_images(tmp_path):
    found = files.content(4)
    part = chosen(files.write(tmp_path, found), ['2', '4.png'])
    assert names(part) == ['2.png', '4.png']
    assert {entry['image_id'] for entry in load(part)['annotations']} == {2, 4}
    other = chosen(files.write(tmp_path, found), ['1'])
    assert names(other) == ['1.png'] and names(part) == ['2.png', '4.png']


def test_unknown_names_are_refused_each_time(tmp_path):
    file = files.write(tmp_path, files.content(4))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a\.json does not list \['x'\]"):
            chosen(file, ['2', 'x'])


def test_a_choice_is_made_once(tmp_path, monkeypatch):
    file = files.write(tmp_path, files.content(4))
    part = chosen(file, ['2'])
    monkeypatch.setattr(module, 'read_coco', lambda *args: 1 / 0)
    assert chosen(file, ['2']) == part
    with pytest.raises(ZeroDivisionError):
        chosen(file, ['3'])
