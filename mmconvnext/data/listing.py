# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The files below a folder, as mmengine lists them, but for links on which it never ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Folders that systems and archives put beside people's files.
SYSTEMS = {'__MACOSX', 'lost+found', '$RECYCLE.BIN', 'System Volume Information'}


def listed(folder: str | Path, suffix: str | None = None) -> list[str]:
    """Names of the files in a folder and its subfolders, sorted; hidden files are left out.

    So mmseg lists images, with two differences. Its listing fails at :func:`endless` links, which
    are left out here. And it passes over a link to a file that is gone, which here has a name, so
    that the checks tell that it cannot be read. [] if there is no such folder.
    """
    return sorted(name for name in _names(folder)[0] if not suffix or name.endswith(suffix))


def endless(folder: str | Path) -> list[str]:
    """Links below a folder that lead to a folder above them, or to themselves, sorted."""
    return sorted(_names(folder)[1])


def folders_of(
    root: str | Path, without: Callable[[str], bool] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A folder and all below it, each once, with the names of its files, sorted.

    Links are followed, but not to folders above. Hidden files and folders, and those of systems,
    are left out.

    Args:
        without: says of a folder whether it is left out, with all below it.

    Raises:
        OSError: a folder cannot be read, so that labels would be missed.
    """
    seen = above(root)
    for place, below, names in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(place)
        if real in seen or (without and without(place)):
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not (name[0] == '.' or name in SYSTEMS))
        yield place, sorted(name for name in names if name[0] != '.')


def _raise(error: OSError) -> None:
    raise error


def above(folder: str | Path) -> set[str]:
    """The real paths of all folders that hold a folder: what links in it must not lead to."""
    return {*map(str, Path(os.path.realpath(folder)).parents)}


def _names(folder: str | Path) -> tuple[list[str], list[str]]:
    names: list[str] = []
    loops: list[str] = []

    def look(place: str, below: str, inside: set[str]) -> None:
        with os.scandir(place) as entries:
            for entry in entries:
                name = f'{below}{entry.name}'
                if _is_folder(entry):
                    real = os.path.realpath(entry.path)
                    if real in inside:
                        loops.append(name)
                    else:
                        look(entry.path, f'{name}/', inside | {real})
                    continue
                if entry.is_symlink() and _leads_to_itself(entry):
                    loops.append(name)
                if not entry.name.startswith('.') and (entry.is_symlink() or entry.is_file()):
                    names.append(name)

    if os.path.isdir(folder):
        look(str(folder), '', above(folder) | {os.path.realpath(folder)})
    return names, loops


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _leads_to_itself(entry: os.DirEntry) -> bool:
    try:
        entry.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
