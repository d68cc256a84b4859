# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/listed_name.py: messages name the user's files, not those made of them in the cache."""

import coco_files as files
import pytest

from mmconvnext.data.coco.kept import sound_file
from mmconvnext.data.coco.parts import chosen, divided
from mmconvnext.data.coco.wanted import Wanted
from mmconvnext.data.listed_name import with_listed_names
from mmconvnext.recipe.checks.finding import Finding, settle


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A file whose first object has the id 0, and the folder of its images."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    files.pictures(tmp_path, 10)
    found = files.content(10)
    for entry in found['annotations']:
        entry['id'] -= 1
    return files.write(tmp_path, found, 'my.own-file.json')


def sound(file, folder):
    return sound_file(file, Wanted(str(folder), files.CLASSES)).file


def test_parts_and_sound_forms(listed, tmp_path):
    train, val = divided(listed, 0.2)
    some = chosen(listed, [entry['file_name'] for entry in files.content(10)['images'][:4]])
    assert len({listed, train, val, some}) == 4
    for file, name in (
        (train, 'my.own-file.json (the part for training)'),
        (val, 'my.own-file.json (the part for validation)'),
        (some, 'my.own-file.json (the part with the chosen images)'),
        (divided(some, 0.5)[0], 'my.own-file.json (the part for training)'),
        (sound(listed, tmp_path), 'my.own-file.json'),
        (sound(divided(listed, 0.2)[0], tmp_path), 'my.own-file.json (the part for training)'),
    ):
        assert 'mmconvnext' in file.parts
        text = with_listed_names(f'b: no cat in {file}, {listed}: x')
        assert text == f'b: no cat in {name}, {listed}: x'


def test_other_files_keep_their_path(listed, tmp_path):
    train, val = divided(listed, 0.2)
    for file in (listed, train.with_name('a.txt'), train.with_name('gone.json')):
        assert with_listed_names(f'no {file}') == f'no {file}'
    val.unlink()
    assert with_listed_names(f'{val} is gone, {train}').startswith(f'{val} is gone, my.own-file.')


def test_findings_are_told_so(listed):
    train, _ = divided(listed, 0.2)
    assert settle({}, [Finding(f'x: {train}: y')]) == [
        'x: my.own-file.json (the part for training): y'
    ]
