# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/progress.py: one line in a terminal, a line now and then in a log."""

import pytest

from mmconvnext.inference import progress as module
from mmconvnext.inference.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, 'monotonic', lambda: Clock.now)
    return Clock


def test_a_line_has_rate_and_time_left(clock):
    progress = Progress('images', 120, done=20)
    clock.now += 10
    for bad in (False, True, *[False] * 18):
        progress.step(bad)
    assert progress.line() == '40 of 120 images, 2.0 images/s, 0:40 left, 1 bad'
    camera = Progress('frames', None)
    clock.now += 1
    camera.step()
    assert camera.line() == '1 frames, 1.0 frames/s'


def test_a_log_gets_few_lines(clock, capsys):
    progress = Progress('images', 100)
    for _ in range(40):
        clock.now += 1
        progress.step()
    progress.end()
    assert capsys.readouterr().err.count('\n') == 2


def test_a_terminals_line_is_overwritten_and_removed(clock, capsys, monkeypatch):
    progress = Progress('images', 3)
    progress.live = True
    for _ in range(2):
        clock.now += 1
        progress.step()
    progress.note('note: look')
    progress.end()
    out = capsys.readouterr().err
    assert out.startswith('\r1 of 3 images, 1.0 images/s, 0:02 left\r2 of 3')
    assert out.endswith(' \rnote: look\n')


def test_durations():
    assert [duration(s) for s in (0, 41.4, 725, 11400)] == ['0:00', '0:41', '12:05', '3:10:00']
