# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/lock.py: a second run in a work dir is refused while the first one lives."""

import os
import signal
import threading
import time
from pathlib import Path

import processes
import pytest

from mmconvnext.recipe import lock
from mmconvnext.recipe.errors import RecipeError

pytestmark = pytest.mark.skipif(lock.fcntl is None, reason='this system has no such locks')


def _hold(rank: int, folder: str) -> None:
    held = lock.hold(f'{folder}/run')
    Path(folder, 'held').touch()
    while not Path(folder, 'end').exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)
    held.close()


def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path):
    first = threading.Thread(target=lambda: processes.call(_hold, str(tmp_path)))
    first.start()
    while not (tmp_path / 'held').exists():
        time.sleep(0.02)
    match = r'run: another run trains here \(process \d+ on .+\), and .*--work-dir$'
    try:
        with pytest.raises(RecipeError, match=match):
            lock.hold(str(tmp_path / 'run'), patience=0)
    finally:
        (tmp_path / 'end').touch()
    file = lock.hold(str(tmp_path / 'run'))  # it waits for the other
    assert (tmp_path / 'run/.lock').read_text().startswith(f'process {os.getpid()} on ')
    file.close()
    first.join()


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(lock.errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(lock.fcntl, 'lockf', fail)
    assert lock.hold(str(tmp_path)) is None
    (tmp_path / 'file').touch()
    assert lock.hold(str(tmp_path / 'file')) is None
    monkeypatch.setattr(lock, 'fcntl', None)
    assert lock.hold(str(tmp_path)) is None
