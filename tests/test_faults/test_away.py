# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Faults of a file system that may pass."""

import errno
import os
import time

import pytest

from mmconvnext.faults import away
from mmconvnext.faults.away import is_away, say, wait


@pytest.mark.parametrize(
    ('error', 'passes'),
    [
        (OSError(errno.EIO, 'x'), True),
        (OSError(errno.ESTALE, 'x'), True),
        (OSError(errno.ETIMEDOUT, 'x'), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (OSError(errno.EACCES, 'x'), False),
        (OSError(errno.ENOENT, 'x'), False),
        (OSError('no number'), False),
        (ValueError('x'), False),
    ],
)
def test_what_may_pass(error, passes, tmp_path):
    (tmp_path / 'other.png').touch()
    assert is_away(error, str(tmp_path / 'a.png')) is passes


def test_a_folder_that_has_gone(tmp_path):
    gone = OSError(errno.ENOENT, 'x')
    assert is_away(gone, str(tmp_path / 'a.png'))  # an empty mount point
    assert is_away(gone, str(tmp_path / 'train/a.png'))
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train/b.png').touch()
    assert not is_away(gone, str(tmp_path / 'train/a.png'))
    assert not is_away(gone, 's3://bucket/a.png')


def test_waiting(monkeypatch):
    naps = []
    now = iter(range(100))
    monkeypatch.setattr(time, 'monotonic', lambda: next(now) * 0.75)
    monkeypatch.setattr(time, 'sleep', naps.append)
    assert wait(0) and wait(2.5) and naps == [1, 1, 0.25]
    naps.clear()
    assert not wait(60, lambda: len(naps) == 2) and len(naps) == 2
    parents = iter([7, 7, 1])
    monkeypatch.setattr(os, 'getppid', lambda: next(parents))
    naps.clear()
    assert not wait(60) and len(naps) == 2


def test_all_ranks_say_it(monkeypatch, capsys):
    told = []
    monkeypatch.setattr(away, 'print_log', lambda line, **options: told.append(line))
    say('a')
    monkeypatch.setenv('RANK', '1')
    say('b')
    assert told == ['a'] and capsys.readouterr().err == 'rank 1: b\n'
