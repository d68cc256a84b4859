# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/coco/kept.py: the sound form is made once, and again when the file or its images change."""

import json
import os

import coco_files as files
import pytest
from coco_files import OBJECTS

from mmconvnext.data.coco import kept as module
from mmconvnext.data.coco.kept import sound_file, write_json


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/mmconvnext/annotations'


@pytest.fixture
def made(monkeypatch):
    """How often a file was read."""
    calls, real = [], module.make_sound
    monkeypatch.setattr(module, 'make_sound', lambda *args: calls.append(args) or real(*args))
    return calls


def odd():
    found = files.content()
    found['annotations'][0]['id'] = 0
    return found


@pytest.mark.parametrize('content', [files.content, odd])
def test_the_second_time_is_the_same_and_reads_nothing(tmp_path, made, content):
    first = files.keep(tmp_path, content())
    second = files.keep(tmp_path, content())
    assert first == second and len(made) == 1
    assert first.file.is_file() and first.facts.classes == OBJECTS
    assert (first.file == tmp_path / 'a.json') == (content is files.content)


def test_the_listed_file_is_not_touched(tmp_path, cache):
    file = files.write(tmp_path, odd())
    before = file.read_bytes(), file.stat().st_mtime_ns
    found = files.keep(tmp_path, odd())
    assert found.file.parent == cache and found.file.name.startswith('a-')
    assert file.read_bytes() == before[0]
    assert json.loads(found.file.read_text())['annotations'][0]['id'] == 1


def test_a_changed_file_another_use_and_new_images_are_read_again(tmp_path, made):
    files.keep(tmp_path, odd())
    files.keep(tmp_path, odd() | dict(info={}))
    assert len(made) == 2
    files.keep(tmp_path, odd(), masks=False)
    assert len(made) == 3
    files.pictures(tmp_path / 'other')
    files.keep(tmp_path, odd(), folder=str(tmp_path / 'other'))
    assert len(made) == 4
    os.utime(tmp_path / '1.png', (1, 1))
    files.keep(tmp_path, odd())
    assert len(made) == 5
    (tmp_path / '1.png').unlink()
    assert files.keep(tmp_path, odd()).ledger.refused


def test_other_files_in_the_folder_of_the_images_change_nothing(tmp_path, made):
    first = files.keep(tmp_path, odd())
    for name in ('log.txt', 'b.json', 'train.log', '1.txt'):
        (tmp_path / name).write_text('')
    assert files.keep(tmp_path, odd()) == first and len(made) == 1
    (tmp_path / 'new.PNG').write_text('')  # could be another spelling of a listed one
    files.keep(tmp_path, odd())
    assert len(made) == 2


def test_images_of_another_suffix_that_were_missing_are_noticed(tmp_path, made):
    found = odd()
    found['images'][0]['file_name'] = '1.tif'
    for _ in range(2):
        assert files.keep(tmp_path, found, passed=('image_files',)).facts.images == 2
    assert len(made) == 1
    (tmp_path / '1.png').rename(tmp_path / '1.tif')
    assert files.keep(tmp_path, found, passed=('image_files',)).facts.images == 3


def test_what_is_in_use_is_not_removed_as_old(tmp_path, cache):
    found = files.keep(tmp_path, odd())
    kept = [*cache.iterdir()]
    for file in kept:
        os.utime(file, (0, 0))
    assert files.keep(tmp_path, odd()) == found
    files.keep(tmp_path, odd(), masks=False)
    assert all(file.is_file() for file in kept)
    for file in kept:
        os.utime(file, (0, 0))
    files.keep(tmp_path, odd(), min_size=1)
    assert not any(file.is_file() for file in kept)


def test_an_image_with_the_size_and_time_of_another_is_read_again(tmp_path, made):
    files.keep(tmp_path, odd())
    before = (tmp_path / '1.png').stat()
    (tmp_path / 'new').write_bytes((tmp_path / '1.png').read_bytes()[:-1] + b'x')
    (tmp_path / 'new').replace(tmp_path / '1.png')
    os.utime(tmp_path / '1.png', ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (tmp_path / '1.png').stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    files.keep(tmp_path, odd())
    assert len(made) == 2


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def hash_of(file):
        raise PermissionError(13, 'Permission denied', str(file))

    monkeypatch.setattr(module, 'hash_of', hash_of)
    (refusal,) = files.keep(tmp_path, odd()).ledger.refused
    assert refusal.check == 'annotations'
    assert refusal.text == f'{tmp_path / "a.json"} cannot be read: Permission denied'


def test_refusals_are_not_kept(tmp_path, made, cache):
    files.pictures(tmp_path)
    (tmp_path / '1.png').unlink()
    for _ in range(2):
        assert files.keep(tmp_path, odd()).file == tmp_path / 'a.json'
    assert len(made) == 2 and not list(cache.glob('*.json'))
    for _ in range(2):
        found = files.keep(tmp_path, odd(), passed=('image_files',))
        assert found.facts.images == 2 and len(found.ledger.refused) == 1
    assert len(made) == 3


def test_a_sound_form_or_a_record_that_is_gone_or_damaged_is_made_again(tmp_path, made, cache):
    file = files.keep(tmp_path, odd()).file
    file.unlink()
    assert files.keep(tmp_path, odd()).file.is_file() and len(made) == 2
    (record,) = (path for path in cache.glob('*.json') if not path.name.endswith('.sound.json'))
    for text in ('{', '{}', '[]', ''):
        record.write_text(text)
        assert files.keep(tmp_path, odd()).facts.classes == OBJECTS
    assert len(made) == 6


def test_a_folder_is_refused(tmp_path):
    (tmp_path / 'a.xml').touch()
    found = sound_file(tmp_path, files.wanted(tmp_path))
    assert found.file == tmp_path and 'a folder of Pascal VOC files' in found.ledger.refused[0].text


def test_without_a_place_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', os.devnull)
    files.keep(tmp_path, files.content())  # nothing to write
    with pytest.raises(OSError):
        files.keep(tmp_path, odd())


@pytest.mark.parametrize('count', [0, 1, 3, 4, 5, 8, 9])
def test_lists_are_written_in_pieces(tmp_path, monkeypatch, count):
    monkeypatch.setattr(module, 'PIECE', 4)
    content = dict(
        info={'a': [1]}, images=[dict(id=i) for i in range(count)], b='\u00e4', c=None, d=[]
    )
    write_json(tmp_path / 'x.json', content)
    assert json.loads((tmp_path / 'x.json').read_text(encoding='utf-8')) == content


def test_the_use_of_both_files_is_noted(tmp_path, cache, monkeypatch):
    """Not every disk keeps the time of access by itself."""
    noted = []
    monkeypatch.setattr(module, 'used', noted.append)
    sound = files.keep(tmp_path, odd()).file
    assert noted == []  # just written
    files.keep(tmp_path, odd())
    (record,) = (path for path in cache.glob('a-*.json') if path != sound)
    assert sorted(noted) == sorted([record, sound])
    noted.clear()
    files.keep(tmp_path, files.content())
    files.keep(tmp_path, files.content())
    assert len(noted) == 1 and noted[0].parent == cache  # never the user's file


def test_a_record_that_cannot_be_written_is_made_again(tmp_path, made, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(module.Path, 'write_text', full)
        first = files.keep(tmp_path, odd())
    assert first.file.is_file() and first.facts.classes == OBJECTS
    assert files.keep(tmp_path, odd()) == first == files.keep(tmp_path, odd())
    assert len(made) == 2


def test_a_folder_that_appears_is_noticed(tmp_path, made):
    found = odd()
    found['images'][0]['file_name'] = 'sub/1.png'
    assert files.keep(tmp_path, found, passed=('image_files',)).facts.images == 2
    files.pictures(tmp_path / 'sub', 1)
    assert files.keep(tmp_path, found, passed=('image_files',)).facts.images == 3
    assert len(made) == 2


def test_the_folder_is_the_same_however_it_is_written(tmp_path, made, monkeypatch):
    files.keep(tmp_path, odd())
    monkeypatch.chdir(tmp_path)
    files.keep(tmp_path, odd(), folder='.')
    files.keep(tmp_path, odd(), folder=f'{tmp_path}/x/..')
    assert len(made) == 1


def test_the_content_is_that_of_the_sound_form(tmp_path):
    kept, read = files.keep(tmp_path, odd()), files.read(tmp_path, odd())
    assert json.loads(kept.file.read_text(encoding='utf-8')) == read.content
    assert kept.facts == read.facts and kept.ledger == read.ledger


def test_lists_of_one_piece_and_more_are_written(tmp_path):
    for count in (module.PIECE - 1, module.PIECE, module.PIECE + 1, 2 * module.PIECE + 1):
        write_json(tmp_path / 'x.json', dict(a=list(range(count)), b=1))
        assert json.loads((tmp_path / 'x.json').read_text()) == dict(a=list(range(count)), b=1)
