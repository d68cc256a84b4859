# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/name_lists.py: lists of names are kept by what they hold."""

import pytest

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
