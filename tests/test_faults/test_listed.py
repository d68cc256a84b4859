# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The list of bad files."""

from threading import Thread

import pytest

from mmconvnext.faults import listed
from mmconvnext.faults.listed import add, size
from mmconvnext.recipe.known_bad import FILE, entries


def test_each_file_once(tmp_path, monkeypatch):
    assert entries(tmp_path) == [] and size(tmp_path) == 0
    add(tmp_path, '/d/a.png', '', 'it is\ncut\toff')
    monkeypatch.setenv('RANK', '1')
    add(tmp_path, '/d/ba.png', '/d/ba.jpg', 'x')
    add(tmp_path, '/d/a.png', '', 'another reason')
    add(tmp_path, 'a.png', '', 'the end of another name')
    rows = [('/d/a.png', '/d/a.png', 'it is cut off', '0'), ('/d/ba.png', '/d/ba.jpg', 'x', '1')]
    assert entries(tmp_path) == [*rows, ('a.png', 'a.png', 'the end of another name', '1')]
    text = (tmp_path / FILE).read_text()
    assert text.startswith('# ') and text.count('#') == 1 and size(tmp_path) == len(text)


def test_names_that_no_line_can_hold(tmp_path):
    for name in ('a\nb', 'c\td', 'e\udcff', '\u00e9'):
        add(tmp_path, name, '', 'x')
        add(tmp_path, name, '', 'x')
    assert [row[0] for row in entries(tmp_path)] == ["'a\\nb'", "'c\\td'", "'e\\udcff'", '\u00e9']


def test_others_wait_while_one_writes(tmp_path):
    fcntl = pytest.importorskip('fcntl', reason='this system has no locks of this kind')
    writer = Thread(target=add, args=(tmp_path, 'a.png', '', 'x'))
    with open(tmp_path / FILE, 'a') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer.start()
        writer.join(0.2)
        assert writer.is_alive() and entries(tmp_path) == []
        held.write('# head\na.png\ta.png\ty\t1\n')
    writer.join()
    assert entries(tmp_path) == [('a.png', 'a.png', 'y', '1')]


def test_a_full_disk_is_waited_for(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(listed, 'patiently', lambda write, file: seen.append((write(), file)))
    add(tmp_path, 'a', '', 'b')
    assert seen == [(None, tmp_path / FILE)] and len(entries(tmp_path)) == 1
