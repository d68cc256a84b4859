# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/parts.py: a file is divided into two, or holds the chosen images."""

import json
import threading

import coco_files as files
import pytest

from mmconvnext.data.cache import locked
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


def test_the_order_of_the_names_does_not_matter(tmp_path):
    file = files.write(tmp_path, files.content(4))
    assert chosen(file, ['2', '4']) == chosen(file, ['4', '2']) != chosen(file, ['2'])


def test_five_unknown_names_are_told(tmp_path):
    file = files.write(tmp_path, files.content(4))
    with pytest.raises(ValueError, match=r"does not list \['a', 'b', 'c', 'd', 'e'\]$"):
        chosen(file, ['1', *'abcdef'])


def test_what_belongs_to_no_image_is_in_a_choice_too(tmp_path):
    found = files.content(4)
    found['annotations'] += [None, dict(id=90, image_id=99, category_id=1)]
    found['images'].append('x')
    part = load(chosen(files.write(tmp_path, found), ['2']))
    assert [entry['id'] for entry in part['images'][:-1]] == [2] and part['images'][-1] == 'x'
    assert part['annotations'][-2:] == found['annotations'][-2:]
    assert {entry['image_id'] for entry in part['annotations'][:-2]} == {2}


def test_all_other_keys_are_in_each_part(tmp_path):
    found = files.content(4) | dict(info=dict(year=1), licenses=[])
    for part in divided(files.write(tmp_path, found), 0.5):
        content = load(part)
        assert content['info'] == dict(year=1) and content['licenses'] == []
        assert content['categories'] == found['categories'] and list(content) == list(found)


def test_classes_are_divided_and_not_only_images(tmp_path):
    found = files.content(8)
    found['categories'].append(dict(id=3, name='owl'))
    for entry in found['annotations']:
        if entry['image_id'] in (1, 5) and entry['category_id'] == 1:
            entry['category_id'] = '3'
    for part in divided(files.write(tmp_path, found), 0.5):
        owls = [entry for entry in load(part)['annotations'] if entry['category_id'] == '3']
        assert len(owls) == 1


def test_the_use_of_each_part_is_noted(tmp_path, monkeypatch):
    noted = []
    monkeypatch.setattr(module, 'used', noted.append)
    parts = divided(files.write(tmp_path, files.content(4)), 0.5)
    assert noted == list(parts)


def test_processes_of_one_run_divide_once(tmp_path, cache, capsys):
    file, found = files.write(tmp_path, files.content(4)), []
    parts = divided(file, 0.5)
    for part in parts:
        part.unlink()
    with locked(parts[0]):
        thread = threading.Thread(target=lambda: found.extend(divided(file, 0.5)))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and not parts[0].is_file()
    thread.join()
    assert tuple(found) == parts and parts[1].is_file()
    assert f'waiting for another process that works on {parts[0].stem}' in capsys.readouterr().out
