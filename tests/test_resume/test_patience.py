# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Waiting for a full disk, for ten minutes."""

import errno

import pytest
from fixtures import warnings

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.resume import patience
from mmconvnext.resume.patience import patiently


@pytest.fixture
def slept(monkeypatch):
    found = []
    monkeypatch.setattr(patience.time, 'sleep', found.append)
    return found


def failing(times, number=errno.ENOSPC):
    left = [OSError(number, 'full')] * times

    def write():
        if left:
            raise left.pop()
        return 'written'

    return write


def test_a_full_disk_is_waited_for(slept, tmp_path, log_records):
    assert patiently(failing(2), tmp_path / 'a.pth') == 'written'
    assert slept == [1] * 60
    first, second = warnings(log_records)
    assert first.startswith(f'{tmp_path}/a.pth cannot be written: No space left on device (')
    assert first.endswith(' MiB are free); trying again in 30 s (1 of 20)')
    assert second.endswith('(2 of 20)')


@pytest.mark.parametrize('number', [errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_ten_minutes_are_enough(number, slept, tmp_path):
    assert patiently(failing(20, number), tmp_path / 'a.pth') == 'written'
    slept.clear()
    with pytest.raises(RecipeError, match=r'a\.pth cannot be written: .*make room, then continue'):
        patiently(failing(21, number), tmp_path / 'a.pth')
    assert sum(slept) == 600


def test_other_faults_are_not_waited_for(slept):
    with pytest.raises(OSError, match='full'):
        patiently(failing(1, errno.EACCES), 'a.pth')
    assert slept == []


def test_a_signal_ends_the_waiting(slept):
    signals = iter([0, 0, 15, 15])
    with pytest.raises(RecipeError, match='make room'):
        patiently(failing(9), 'no folder/a.pth', lambda: next(signals))
    assert slept == [1]
