# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""One training at a time in a work dir: two would overwrite each other's checkpoints."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path
from typing import TextIO

from .errors import RecipeError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = '.lock'
# Seconds to wait for a run that is just ending, such as one whose launcher was killed; our choice.
PATIENCE = 10.0
HELD = (errno.EACCES, errno.EAGAIN)  # POSIX lets a system choose


def hold(work_dir: str, patience: float = PATIENCE) -> TextIO | None:
    """Lock a work dir until the file that is returned is closed, or this process ends.

    The system lifts the lock of a process that was killed, also on other machines that share the
    folder. None if the file system has no locks.

    Raises:
        RecipeError: another process trains there.
    """
    if fcntl is None:
        return None
    end = time.monotonic() + patience
    try:
        os.makedirs(work_dir, exist_ok=True)
        file = Path(work_dir, NAME).open('a+')
        while not _taken(file):
            if time.monotonic() > end:
                file.seek(0)
                raise RecipeError(
                    f'{work_dir}: another run trains here ({file.read().strip()}), and the two '
                    'would overwrite each other. Wait for its end, stop it, or choose another '
                    'folder with --work-dir'
                )
            time.sleep(0.2)
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
    except OSError:  # no locks here, or no room: what needs the folder will say so
        return None
    return file


def _taken(file: TextIO) -> bool:
    try:
        # Not flock: the processes that load data would inherit it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    return True
