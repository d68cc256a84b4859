# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/run.py: a mistake ends with status 2 and one message; other errors keep their traceback."""

import errno
import subprocess
import sys
import warnings

import coco_files
import pytest
from fixtures import MASK_RCNN, ROOT
from processes import script

from mmconvnext.checkpoint.errors import CheckpointError
from mmconvnext.cli.run import run_tool, start
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.quiet import IDLE

LONG = 'x' * 5000  # characters of a path
READERS = ('check_config', 'browse_dataset', 'train')  # of a config that comes first


@pytest.mark.parametrize('kind', [RecipeError, CheckpointError])
def test_a_mistake_is_shown_as_one_message(capsys, kind):
    def fails():
        raise kind('the way out')

    with pytest.raises(SystemExit, match='^2$'):
        run_tool(fails)
    assert capsys.readouterr().err == 'error: the way out\n'


def test_no_other_error_is_hidden():
    def fails():
        raise ValueError('a bug')

    with pytest.raises(ValueError, match='a bug'):
        run_tool(fails)
    assert run_tool(lambda: None) is None


def test_what_the_system_refuses_is_one_message(capsys):
    def fails(number):
        raise OSError(number, 'full', 'a.pth')

    with pytest.raises(SystemExit, match='^2$'):
        run_tool(lambda: fails(errno.ENOSPC))
    assert capsys.readouterr().err.startswith('error: a.pth: full: the disk is full; make room')
    with pytest.raises(FileNotFoundError):  # of ours, or of a config
        run_tool(lambda: fails(errno.ENOENT))


@pytest.mark.parametrize(
    'argv',
    [
        ['prepare_data', LONG, 'b'],
        ['prepare_data', 'a', LONG],
        ['new_project', LONG],
        ['new_project', 'a', '--annotations', f'{LONG}.json'],
        ['new_project', 'a', '--random', '--out', f'{LONG}.py'],
        ['check_config', LONG],
        ['browse_dataset', LONG, '--out', 'c'],
        ['browse_dataset', 'x.py', '--out', LONG],
        ['train', LONG],
        ['train', MASK_RCNN, '--work-dir', LONG],
    ],
)
def test_very_long_paths(argv, tmp_path, monkeypatch, capsys):
    coco_files.pictures(tmp_path / 'a', images=4)
    coco_files.write(tmp_path / 'a', coco_files.content(4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(SystemExit, match='^2$'):
        start(argv[0])
    told = capsys.readouterr().err
    said = 'there is no config' if argv[1] == LONG and argv[0] in READERS else 'File name too long'
    assert told.startswith('error: ') and said in told and len(told) < 700
    assert not (tmp_path / 'b').exists()


# An error that is only seen after imports, base configs and checks have worked.
WRONG = ('--cfg-options', 'model.neck.in_channels=[1,2,3,4]')
FAULT = 'error: model.neck.in_channels=[1, 2, 3, 4], but model.backbone'


def test_a_tool_runs_from_another_folder_and_ends_without_a_traceback(tmp_path):
    (tmp_path / 'mine.py').write_text(f'_base_ = {MASK_RCNN!r}\n')
    done = script(ROOT / 'tools/train.py', 'mine.py', *WRONG, folder=tmp_path)
    assert done.returncode == 2
    assert FAULT in done.stderr and 'Traceback' not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mine.py']


def test_nothing_is_written_after_a_mistake(tmp_path, monkeypatch, capsys):
    (tmp_path / 'mine.py').write_text(f'_base_ = {MASK_RCNN!r}\n')
    (tmp_path / 'x.pth').touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['test.py', 'mine.py', 'x.pth', *WRONG])
    with pytest.raises(SystemExit, match='^2$'):
        start('test')
    assert FAULT in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ['mine.py', 'x.pth']


def test_a_reader_that_stops_is_no_error():
    code = 'from mmconvnext.cli.run import run_tool; run_tool(lambda: [print("x" * 99999)] * 9)'
    done = subprocess.run(
        f"{sys.executable} -c '{code}' | head -c 1", shell=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ('x', '')


def test_ctrl_c_shows_no_traceback(capsys):
    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match='^130$'):
        run_tool(stopped)
    assert capsys.readouterr().err == '\nstopped\n'


def test_names_that_are_no_utf8_are_shown(tmp_path):
    shows = 'from mmconvnext.cli.run import run_tool; run_tool(lambda: print(chr(0xdcfc)))'
    done = subprocess.run([sys.executable, '-c', shows], capture_output=True, text=True)
    assert done.stdout == '\\udcfc\n'


def test_warnings_that_nobody_can_act_on_stay_away():
    def warns():
        warnings.warn(f'{IDLE[0]}, if', UserWarning, stacklevel=1)
        warnings.warn('another', UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        run_tool(warns)
    assert [str(one.message) for one in caught] == ['another']
