# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/name_lists.py: lists of names are kept by what they hold."""

import pytest

from mmconvnext.data import name_lists
from mmconvnext.data.name_lists import written_list


def test_a_list_has_a_name_in_each_line(tmp_path, cache_home):
    file = written_list(str(tmp_path), ['b', 'a/c', '\u00e4'])
    assert file.read_text(encoding='utf-8') == 'a/c\nb\n\u00e4\n'
    assert file.parent == cache_home / 'splits'


def test_the_same_names_are_in_the_same_file(tmp_path):
    first = written_list(str(tmp_path), ['a', 'b'])
    assert written_list(f'{tmp_path}/.', ['b', 'a']) == first
    assert written_list(str(tmp_path), ['a']) != first
    assert written_list(str(tmp_path / 'x'), ['a', 'b']) != first
    first.unlink()
    assert written_list(str(tmp_path), ['a', 'b']).is_file()


def test_without_a_place_for_it(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(ValueError, match='cannot be written .* set the variable XDG_CACHE_HOME'):
        written_list(str(tmp_path), ['a'])
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')  # no home
    with pytest.raises(ValueError, match='cannot be written'):
        written_list(str(tmp_path), ['a'])


def test_the_use_of_a_list_is_noted_and_it_is_written_once(tmp_path, monkeypatch):
    noted = []
    monkeypatch.setattr(name_lists, 'used', noted.append)
    first = written_list(str(tmp_path / 'my images'), ['b', 'a'])
    assert noted == [] and first.name.startswith('my images-') and first.suffix == '.txt'
    first.write_text('as it was')
    assert written_list(str(tmp_path / 'my images'), ['a', 'b']) == first and noted == [first]
    assert first.read_text() == 'as it was'


def test_lists_of_other_names_are_other_files(tmp_path):
    lists = [['ab'], ['a', 'b'], ['a\tb'], [], ['a', 'b', 'c']]
    assert len({written_list(str(tmp_path), names) for names in lists}) == len(lists)


def test_a_name_that_is_no_utf8(tmp_path):
    with pytest.raises(ValueError, match='is no UTF-8, which lists of images cannot hold'):
        written_list(str(tmp_path), ['a', '\udcfc'])
