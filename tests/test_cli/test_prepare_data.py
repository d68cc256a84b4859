# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/prepare_data.py: one message for what the user can mend."""

import pytest
from export_files import yolo

from mmconvnext.cli.prepare_data import main
from mmconvnext.recipe.errors import RecipeError


def test_it_prints_what_to_do_next(tmp_path, capsys):
    yolo(tmp_path / 'a', dict.fromkeys(['1.png', '2.png'], '0 .5 .5 .2 .2\n'))
    main([str(tmp_path / 'a'), str(tmp_path / 'out')])
    told = capsys.readouterr().out
    assert told.startswith('yolo: data.yaml names classes\n') and 'own_data = dict(' in told
    assert told.endswith(f'new_project.py {tmp_path / "out"} --task det\n')


def test_errors(tmp_path):
    (tmp_path / 'a').mkdir()
    with pytest.raises(RecipeError, match='a is empty: give the folder'):
        main([str(tmp_path / 'a'), str(tmp_path / 'out')])
    with pytest.raises(RecipeError, match='gone is no folder'):
        main(['--check-coco', str(tmp_path / 'gone')])


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device', 'x.json')

    monkeypatch.setattr('mmconvnext.cli.prepare_data.prepare', full)
    with pytest.raises(RecipeError, match='x.json: No space .*: the disk is full; make room'):
        main([str(tmp_path), str(tmp_path / 'out')])


def test_checks_end_with_a_status(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(['--check-ade', str(tmp_path)])
    rows = capsys.readouterr().out.splitlines()
    assert end.value.code == 1 and len(rows) == 4
    assert rows[0].startswith('FAULT  ADEChallengeData2016/images/training: not below')
