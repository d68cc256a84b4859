# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Errors of the system that the user can mend, such as a full disk, as one message."""

from __future__ import annotations

import errno

LONGEST = 200  # characters of a path that are shown; our choice
OTHER_PLACE = 'choose another place'
WAYS = {
    errno.ENAMETOOLONG: 'a name may have 255 bytes, a whole path 4095; give a shorter one',
    errno.ELOOP: 'a symbolic link leads to itself; remove it, or let it lead to the data',
    errno.EACCES: f'this user lacks the rights; change them (chmod, chown), or {OTHER_PLACE}',
    errno.EPERM: f'this user lacks the rights; change them (chmod, chown), or {OTHER_PLACE}',
    errno.EROFS: f'this disk can only be read; {OTHER_PLACE}',
    errno.ENOSPC: f'the disk is full; make room, or {OTHER_PLACE}',
    errno.EDQUOT: f'the quota of this user is used up; make room, or {OTHER_PLACE}',
    errno.EFBIG: f'no file may be so large here (ulimit -f, or the disk); {OTHER_PLACE}',
}


def told(error: OSError) -> str:
    """What is wrong, with which file, and the way out; '' for errors that are none of these."""
    if error.errno not in WAYS:
        return ''
    paths = [short(path) for path in (error.filename, error.filename2) if path is not None]
    where = f'{" -> ".join(paths)}: ' if paths else ''  # two of a copy, the second is written
    return f'{where}{reason(error)}'


def reason(error: OSError) -> str:
    """What is wrong, and the way out if it is one of these, without the file."""
    way = WAYS.get(error.errno)
    return f'{error.strerror or error}' + (f': {way}' if way else '')


def short(path: object) -> str:
    """A path, without the middle of a very long one."""
    text = str(path)
    if len(text) <= LONGEST:
        return text
    return f'{text[: LONGEST // 2]}...{text[-20:]} ({len(text)} characters)'
