# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The list of bad files in the work dir, to which all processes of a run write."""

from __future__ import annotations

from pathlib import Path

from ..recipe.ranks import rank
from ..resume.patience import patiently

try:
    import fcntl
except ImportError:  # Windows has no such locks; a file may be listed twice there
    fcntl = None

FILE = 'bad_data.txt'
HEAD = '# Samples that were replaced by others: file, reason, rank that read it first\n'


def add(folder: str | Path, file: str, reason: str) -> None:
    """List a file with the reason, unless it is listed.

    Raises:
        RecipeError: the disk stays full, see :func:`..resume.patience.patiently`.
    """
    path = Path(folder, FILE)
    patiently(lambda: _add(path, _plain(file), ' '.join(reason.split())), path)


def entries(folder: str | Path) -> list[tuple[str, str, str]]:
    """File, reason and rank of each line; a line that is not whole yet is left out."""
    try:
        text = Path(folder, FILE).read_text(encoding='utf-8')
    except FileNotFoundError:
        return []
    lines = text[: text.rfind('\n') + 1].splitlines()
    rows = [tuple(line.split('\t')) for line in lines if not line.startswith('#')]
    return [row for row in rows if len(row) == 3]


def size(folder: str | Path) -> int:
    """Bytes of the list."""
    try:
        return Path(folder, FILE).stat().st_size
    except OSError:
        return 0


def _add(path: Path, file: str, reason: str) -> None:
    with open(path, 'a+', encoding='utf-8') as stream:
        _lock(stream)  # until it is closed
        stream.seek(0)
        listed = stream.read()
        if f'\n{file}\t' not in listed:
            head = '' if listed else HEAD
            stream.write(f'{head}{file}\t{reason}\t{rank()}\n')


def _lock(stream: object) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX)
    except (OSError, AttributeError):  # some network file systems have none either
        pass


def _plain(file: str) -> str:
    return file if file.isprintable() else ascii(file)
