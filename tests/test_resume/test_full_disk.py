# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A disk that is full for curves and logs costs rows, not the run."""

import errno
import logging
from types import SimpleNamespace

import pytest
from mmengine.visualization import LocalVisBackend
from resume_runs import SignalHook, assert_equal, config, train

from mmconvnext.resume.full_disk import spare_the_run


def test_a_run_goes_on_and_says_so_once(tmp_path, monkeypatch, capsys):
    whole = train(config(tmp_path / 'whole'))
    dump, left = LocalVisBackend._dump, [2, 3, 4]

    def full(self, *args):
        if left:
            raise OSError(errno.ENOSPC if left.pop() else 0, 'full')
        dump(self, *args)

    monkeypatch.setattr(LocalVisBackend, '_dump', full)
    capsys.readouterr()
    logs = dict(config(tmp_path).default_hooks, logger=dict(type='LoggerHook', interval=1))
    run = train(config(tmp_path / 'run', default_hooks=logs), SignalHook())
    assert_equal(run, whole)
    out = capsys.readouterr().out
    assert out.count('curves and logs cannot be written: No space left on device. The run go') == 1
    rows = next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert len(rows) == 15 + 3 - 3


def test_other_faults_are_no_full_disk(tmp_path):
    def write():
        raise OSError(errno.EACCES, 'x')

    visualizer, logger = SimpleNamespace(add_scalars=write), logging.Logger('x')
    spare_the_run(visualizer, logger)
    with pytest.raises(OSError, match='x'):
        visualizer.add_scalars()


@pytest.mark.parametrize('error, shown', [(OSError(errno.ENOSPC, 'x'), ''), (ValueError('y'), 'y')])
def test_a_log_file_on_a_full_disk_has_no_tracebacks(error, shown, tmp_path, capsys, monkeypatch):
    logger = logging.Logger('x')
    handler = logging.FileHandler(tmp_path / 'log')
    logger.addHandler(handler)
    spare_the_run(SimpleNamespace(add_scalars=None), logger)

    def fail():
        raise error

    monkeypatch.setattr(handler, 'flush', fail)
    logger.warning('a row')
    found = capsys.readouterr().err
    assert ('--- Logging error ---' in found) is bool(shown) and shown in found
    monkeypatch.undo()
    handler.close()
