# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The list of bad files in the work dir, to which all processes of a run write."""

from __future__ import annotations

from pathlib import Path

from ..recipe.known_bad import FILE
from ..recipe.ranks import rank
from ..resume.patience import patiently

try:
    import fcntl
except ImportError:  # Windows has no such locks; a file may be listed twice there
    fcntl = None

HEAD = '# Files that could not be used: file, image, reason, rank that read it first\n'


def add(folder: str | Path, file: str, image: str, reason: str) -> None:
    """List a file with the reason, unless it is listed; ``image`` is that of its sample.

    Raises:
        RecipeError: the disk stays full, see :func:`..resume.patience.patiently`.
    """
    path = Path(folder, FILE)
    row = [_plain(file), _plain(image or file), ' '.join(reason.split()), str(rank())]
    patiently(lambda: _add(path, row), path)


def size(folder: str | Path) -> int:
    """Bytes of the list."""
    try:
        return Path(folder, FILE).stat().st_size
    except OSError:
        return 0


def _add(path: Path, row: list[str]) -> None:
    with open(path, 'a+', encoding='utf-8') as stream:
        _lock(stream)  # until it is closed
        stream.seek(0)
        listed = stream.read()
        if f'\n{row[0]}\t' not in listed:
            stream.write(('' if listed else HEAD) + '\t'.join(row) + '\n')


def _lock(stream: object) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX)
    except (OSError, AttributeError):  # some network file systems have none either
        pass


def _plain(file: str) -> str:
    return file if file.isprintable() else ascii(file)
