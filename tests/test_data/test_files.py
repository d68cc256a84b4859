# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/files.py: names are found as they are on disk, or a hint says where the file may be."""

import os
import re
import unicodedata

import pytest

from mmconvnext.data.files import Files, folded, folded_suffix

COMPOSED = 'Gr\u00f6\u00dfe.jpg'  # with an umlaut of one character, as most systems write it
APART = unicodedata.normalize('NFD', COMPOSED)  # of two, as macOS does


@pytest.fixture
def files(tmp_path):
    """Makes files below a folder, and finds them."""

    def make(*names):
        for name in names:
            path = tmp_path / 'images' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return Files(tmp_path / 'images')

    return make


@pytest.mark.parametrize(
    ('on_disk', 'name'),
    [
        ('a.jpg', 'a.JPG'),
        ('A.jpg', 'a.jpg'),
        ('sub/a.jpg', 'Sub/A.jpg'),
        ('One/Two/a.jpg', 'one/two/a.jpg'),
        ('sub/a.jpg', 'sub\\a.jpg'),
        ('Sub/a.jpg', 'sub\\A.JPG'),
        ('a.jpg', '/a.jpg'),
        ('sub/a.jpg', '/sub/a.jpg'),
        (COMPOSED, APART),
        (APART, COMPOSED),
        (f'{APART}/a.jpg', f'{COMPOSED}/a.jpg'),
        ('a b.jpg', 'a%20b.jpg'),
        ('Sub/a#1.jpg', '/sub\\a%231.JPG '),
        ('a.jpg', ' a.jpg'),
    ],
)
def test_other_spellings_are_found(files, on_disk, name):
    assert files(on_disk).find(name) == on_disk


@pytest.mark.parametrize(
    'name',
    ['a.jpg', 'sub/a.jpg', './a.jpg', 'sub/../a.jpg', 'back\\slash.jpg', 'a%20b.jpg', ' a.jpg'],
)
def test_a_name_that_exists_stays(files, name):
    there = ('back\\slash.jpg', 'back/slash.jpg', 'a%20b.jpg', 'a b.jpg', ' a.jpg')
    assert files('a.jpg', 'sub/a.jpg', *there).find(name) == name


def test_whole_paths_stay(files, tmp_path):
    found, name = files('a.jpg'), str(tmp_path / 'images/a.jpg')
    assert found.find(name) == name
    assert (found.root / name).is_file()


def test_links_are_files(files, tmp_path):
    found = files('a.jpg')
    (tmp_path / 'images/link.jpg').symlink_to('a.jpg')
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere/b.jpg').touch()
    (tmp_path / 'images/folder').symlink_to(tmp_path / 'elsewhere')
    assert found.find('link.jpg') == 'link.jpg'
    assert found.find('folder/B.jpg') == 'folder/b.jpg'


def test_names_with_blanks_around(files):
    found = files('a.jpg', ' b.jpg')
    assert found.find('a.jpg ') == found.find(' A.jpg\n') == 'a.jpg'
    assert found.find(' b.jpg') == ' b.jpg' and found.find('b.jpg') is found.find(' ') is None


def test_names_with_percent_signs(files):
    found = files('a b.jpg', 'c%20d.jpg', '\u00e4.jpg')
    assert found.find('a%20b.jpg') == found.find('A%20b.jpg') == 'a b.jpg'
    assert found.find('c%20d.jpg') == 'c%20d.jpg' and found.find('%C3%A4.jpg') == '\u00e4.jpg'
    assert found.find('100%.jpg') is found.find('c d.jpg') is None


def test_nothing_is_guessed_between_two_files(files):
    found = files('a.jpg', 'A.jpg', 'b.jpg')
    assert found.find('a.jpg') == 'a.jpg' and found.find('A.jpg') == 'A.jpg'
    assert found.find('A.JPG') is None
    assert 'A.jpg and a.jpg differ only in case' in found.hint('A.JPG')


@pytest.mark.parametrize(
    'name', ['b.jpg', 'sub/b.jpg', 'no/a.jpg', '/no/where/a.png', '', '/', 'a.jpg/']
)
def test_missing_files_are_none(files, name):
    assert files('a.jpg', 'sub/c.jpg').find(name) is None


@pytest.mark.parametrize(
    'name', ['x' * 300 + '/a.jpg', 'a\0b/c.jpg', 'data:image/png;base64,' + '/9j' * 99]
)
def test_names_that_no_file_can_have(files, name):
    found = files('a.jpg')
    assert found.find(name) is None
    assert found.hint(name)


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('http://host/x/b.jpg', 'it is a URL: download'),
        ('http://host/x/a.jpg', "a.jpg exists, so file_name has 'http://host/x' too many"),
        ('file:///x/a.jpg', "a.jpg exists, so file_name has 'file:///x' too many"),
        ('x/%61.jpg', "a.jpg exists, so file_name has 'x' too many"),
        ('data:image/png;base64,AAAA', 'an image written as text'),
        ('train/a.jpg', "'train' too many: set own_data.strip_folders=True$"),
        ('D:\\pets\\new\\a.jpg', "a.jpg exists, so file_name has 'D:/pets/new' too many"),
        ('/data/old/a.jpg', "a.jpg exists, so file_name has '/data/old' too many"),
        (
            'images/a.jpg',
            "'images' too many: set own_data.strip_folders=True, or images to the folder above$",
        ),
        ('a.png', 'a.jpg is there: correct the suffix'),
        ('a', 'a.jpg is there: correct the suffix'),
        ('sub/C.png', 'c.jpg is there: correct the suffix'),
        ('c.jpg', 'it is in .*images/sub: set images to that folder'),
        ('C.JPG', 'it is in .*images/sub: set images to that folder'),
        ('other/b.jpg', 'there is no folder .*images/other: correct images'),
        ('b.jpg', 'correct images, or remove the entry'),
        ('sub/b.jpg', 'correct images, or remove the entry'),
    ],
)
def test_hints(files, name, hint):
    found = files('a.jpg', 'sub/c.jpg')
    assert found.find(name) is None
    _match(found.hint(name), hint)


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('train/a.jpg', 'a.jpg'),
        ('D:\\pets\\new\\A.JPG', 'a.jpg'),
        ('/data/old/sub/c.jpg', 'sub/c.jpg'),  # as few folders as possible go
        ('sub/a.jpg', 'a.jpg'),
        ('a.jpg', 'a.jpg'),
        ('old/c.jpg', None),  # it is in a folder that the name lacks
        ('old/b.jpg', None),
        ('old/', None),
    ],
)
def test_folders_that_are_not_there(files, name, found):
    root = files('a.jpg', 'sub/c.jpg').root
    assert Files(root, strip_folders=True).find(name) == found
    assert Files(root).find(name) == (found if name == found else None)


def test_two_names_of_one_file_when_folders_are_stripped(files):
    found = Files(files('a.jpg').root, strip_folders=True)
    assert found.find('x/a.jpg') == found.find('y/a.jpg') == 'a.jpg'


def _match(text, pattern):
    assert re.search(pattern, text), text


def test_a_folder_that_cannot_be_listed_is_named(files, monkeypatch):
    found = files('sub/a.jpg')
    real = os.listdir

    def listdir(path):
        if str(path).endswith('sub'):
            raise PermissionError(13, 'Permission denied')
        return real(path)

    monkeypatch.setattr(os, 'listdir', listdir)
    assert found.find('sub/a.jpg') is None
    _match(found.hint('sub/a.jpg'), r'images/sub cannot be listed \(permission denied\)')


def test_each_folder_is_listed_once(files, monkeypatch):
    found = files(*(f'{i}.jpg' for i in range(20)), 'sub/a.jpg')
    listed, real = [], os.listdir
    monkeypatch.setattr(os, 'listdir', lambda path: listed.append(str(path)) or real(path))
    for i in range(20):
        assert found.find(f'{i}.JPG') == f'{i}.jpg'
        assert found.find('sub/a.jpg') and not found.find('no/a.jpg')
    assert len(listed) == 3
    assert found.folders == ['', 'no', 'sub']


@pytest.mark.parametrize(('most', 'found'), [(2, False), (3, False), (4, True)])
def test_the_search_for_a_file_ends(files, monkeypatch, most, found):
    """The fourth of the folders has it."""
    monkeypatch.setattr('mmconvnext.data.files.MOST', most)
    hint = files('1/2/3/a.jpg', '1/2/3/4/b.jpg').hint('a.jpg')
    _match(hint, 'it is in .*images/1/2/3: set' if found else 'correct images, or remove')


def test_suffixes_are_those_of_all_names_that_were_looked_for(files):
    found = files('a.jpg')
    for name in ('a.JPG', 'b.Png ', 'c', 'x.y/d', 'gone.tif'):
        found.find(name)
    assert found.suffixes == {'.jpg', '.png', '', '.tif'}


def test_folders_that_were_looked_for_are_known(files):
    found = files('Sub/a.jpg', 'b.jpg')
    assert found.find('sub/a.jpg') == 'Sub/a.jpg' and found.find('gone/x/c.jpg') is None
    assert set(found.folders) >= {'', 'Sub', 'gone/x'} and found.folders == sorted(found.folders)


@pytest.mark.parametrize(
    ('on_disk', 'name', 'hint'),
    [
        (
            ['b/a.jpg', 'c/a.jpg'],
            'a.jpg',
            r'it is in \S*images/[bc]: set images to that folder, or',
        ),
        (['a.b.jpg'], 'a.b.png', r'^a\.b\.jpg is there: correct the suffix$'),
        (['a.tif', 'a.jpg'], 'a.png', r'^a\.jpg is there: correct the suffix$'),
        (['.jpg'], '.png', 'correct images, or remove'),
        (['.hidden'], 'a/.hidden', "^.hidden exists, so file_name has 'a' too many"),
        (
            ['a.jpg', 'A.jpg', 'A.JPG'],
            'a.JPG',
            r'^A\.JPG and A\.jpg and a\.jpg differ only in case',
        ),
        (['sub/a.jpg', 'sub/A.jpg'], 'SUB/A.JPG', r'^A\.jpg and a\.jpg differ only in case: write'),
        (['x'], 'no/data:a.jpg', 'there is no folder .*images/no: correct images$'),
        (['x/y'], 'ftp://h/z.jpg', '^it is a URL: download the images, and write their names$'),
        (
            ['a/b/c.jpg'],
            'x\\y\\a\\b\\c.jpg',
            "^a/b/c.jpg exists, so file_name has 'x/y' too many: set",
        ),
    ],
)
def test_hints_by_what_is_there(files, on_disk, name, hint):
    found = files(*on_disk)
    assert found.find(name) is None
    _match(found.hint(name), hint)


@pytest.mark.parametrize(
    ('name', 'above'), [('images/a.jpg', True), ('x/images/a.jpg', False), ('image/a.jpg', False)]
)
def test_the_folder_above_is_a_way_only_if_it_is_named_so(files, tmp_path, name, above):
    hint = files('a.jpg').hint(name)
    assert hint.endswith(', or images to the folder above') == above
    whole = f'{tmp_path.name}/images/a.jpg'
    assert files('a.jpg').hint(whole).endswith(', or images to the folder above')


def test_a_dead_link_is_a_name_of_the_folder(files, tmp_path):
    found = files('a.jpg')
    (tmp_path / 'images/dead.jpg').symlink_to('nowhere.jpg')
    assert found.find('dead.jpg') == 'dead.jpg'  # its header tells that it leads nowhere


@pytest.mark.parametrize(
    ('name', 'suffix'),
    [
        ('a.JPG', '.jpg'),
        ('a.b.Png ', '.png'),
        ('a', ''),
        ('x.y/a', ''),
        ('.hidden', ''),
        ('a.', '.'),
    ],
)
def test_folded_suffixes(name, suffix):
    assert folded_suffix(name) == suffix


def test_folded_names():
    assert folded('STRASSE') == folded('stra\u00dfe') and folded(APART) == folded(COMPOSED)
    assert folded('a.jpg') != folded('b.jpg')
