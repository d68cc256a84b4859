# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writing to a disk that is full or a network that is away: wait, try again, in the end give up."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..recipe.errors import RecipeError
from ..recipe.ranks import log_rank0

# Ten minutes in all: below the half hour after which torch gives up on a process; our choice.
SECONDS, TRIES = 30, 20
# What passes, or what somebody can mend meanwhile.
PASSING = {
    getattr(errno, name)
    for name in ('ENOSPC', 'EDQUOT', 'EIO', 'ESTALE', 'ETIMEDOUT', 'EHOSTDOWN', 'ENOTCONN')
    if hasattr(errno, name)
}
Result = TypeVar('Result')


def patiently(
    write: Callable[[], Result], file: str | Path, hurried: Callable[[], object] = lambda: False
) -> Result:
    """Call ``write`` until it succeeds, at most TRIES + 1 times.

    Args:
        file: what it writes, for the messages.
        hurried: whether to give up instead of waiting, asked every second.

    Raises:
        RecipeError: it did not succeed; the last fault of the disk.
        OSError: a fault that does not pass, such as missing rights.
    """
    for attempt in range(TRIES + 1):
        try:
            return write()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            fault = f'{file} cannot be written: {os.strerror(error.errno)}{_free(file)}'
            if attempt == TRIES or hurried():
                raise RecipeError(
                    f'{fault}. The checkpoints before it are whole: make room, then continue with '
                    '--resume'
                ) from error
        log_rank0(
            f'{fault}; trying again in {SECONDS} s ({attempt + 1} of {TRIES})', logging.WARNING
        )
        for _ in range(SECONDS):
            if hurried():
                break
            time.sleep(1)
    raise AssertionError('unreachable')


def _free(file: str | Path) -> str:
    try:
        free = shutil.disk_usage(Path(os.path.abspath(file)).parent).free
    except OSError:
        return ''
    return f' ({free / 2**20:,.0f} MiB are free)'
