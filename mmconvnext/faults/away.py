# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Whether a file cannot be read because its file system is away, and waiting for it."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Callable

from mmengine.logging import print_log

from ..recipe.ranks import rank
from ..resume.patience import PASSING


def is_away(error: BaseException, file: str) -> bool:
    """Whether an error may pass: that of a network, a disk, or of a folder that has vanished."""
    if isinstance(error, (ConnectionError, TimeoutError)) or is_folder_lost(error, file):
        return True
    return isinstance(error, OSError) and error.errno in PASSING


def is_folder_lost(error: BaseException, file: str) -> bool:
    """Whether a file is missing because its folder is, or is empty, as a mount point is.

    A file that is missing from a folder with others is gone by itself.
    """
    missing = isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR)
    return missing and '://' not in file and _is_empty(os.path.dirname(file) or '.')


def wait(seconds: float, hurried: Callable[[], object] = lambda: False) -> bool:
    """Sleep; False if the process that trains has ended, or is to end, meanwhile.

    Args:
        hurried: whether this process is to end, asked every second.
    """
    parent, end = os.getppid(), time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 1))
        if os.getppid() != parent or hurried():
            return False
    return True


def say(line: str) -> None:
    """Warn, from any process: mmengine's logger shows the warnings of rank 0 only."""
    if rank():
        sys.stderr.write(f'rank {rank()}: {line}\n')
    else:
        print_log(line, logger='current', level=logging.WARNING)


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as found:
            return next(found, None) is None
    except OSError:
        return True
