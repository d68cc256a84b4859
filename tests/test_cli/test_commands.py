# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/commands.py: lines that can be pasted."""

import sys
from pathlib import Path

from mmconvnext.cli.commands import command, data_folder, short


def test_a_tool_beside_this_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('clone/tools/train.py', 'clone/tools/predict.py'):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    for started in ('clone/tools/train.py', str(tmp_path / 'clone/tools/train.py')):
        monkeypatch.setattr(sys, 'argv', [started])
        assert command('predict', 'a') == 'python clone/tools/predict.py a'
    monkeypatch.setattr(sys, 'argv', ['pytest'])
    assert command('predict', 'a') == 'python tools/predict.py a'


def test_names_that_a_shell_would_divide(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['pytest'])
    line = command('analyze', Path("work_dirs/my run's"), '--out', '$x')
    assert line == """python tools/analyze.py 'work_dirs/my run'"'"'s' --out '$x'"""


def test_paths_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    assert short(tmp_path / 'here/a/b.pth') == 'a/b.pth'
    assert short(tmp_path / 'there/b.pth') == str(tmp_path / 'there/b.pth')
    assert short('../a') == '../a' and short('--out') == '--out'


def test_the_folder_for_a_page_about_the_data():
    assert data_folder(Path('a b/mine.py')) == Path('work_dirs/mine/data')
