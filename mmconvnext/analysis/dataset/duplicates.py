# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Images with the same content, within a split and in another one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from ...data.cache import Progress, hash_of

PIECE = 4096  # bytes of the middle of a file that are compared first; our choice

Image = tuple[str, int]  # the name of a split, and the number of the image in it


def duplicates(files: dict[str, list[str]]) -> list[list[Image]]:
    """Groups of images whose files have the same bytes; files that cannot be read are left out.

    Few files are read: of those of the same size a piece of the middle, and the whole file if that
    is the same too.

    Args:
        files: the images of each split, by its name.
    """
    groups = [[(split, index) for split, names in files.items() for index in range(len(names))]]
    for read, what in ((_size, 'files'), (_middle, 'files of one size'), (_whole, 'files alike')):
        progress = Progress(f'{what} compared', sum(map(len, groups)))
        groups = _divide(groups, _Once(files, read, progress))
    return groups


class _Once:
    """What ``read`` gives of an image; a file that is listed often, or by two names, is read once.

    Links to one file are one file.
    """

    def __init__(self, files: dict[str, list[str]], read: Callable, progress: Progress):
        self.files, self.read, self.progress = files, read, progress
        self.known: dict[tuple[int, int], object] = {}

    def __call__(self, image: Image) -> object:
        path = Path(self.files[image[0]][image[1]])
        stat = path.stat()
        place = stat.st_dev, stat.st_ino
        if place not in self.known:
            self.known[place] = self.read(path, stat.st_size)
            self.progress.show(len(self.known))
        return self.known[place]


def _divide(groups: Iterable[list[Image]], key: Callable[[Image], object]) -> list[list[Image]]:
    """Divide groups by a key; those with one member, and files without a key, are dropped."""
    found = []
    for group in groups:
        parts: dict[object, list[Image]] = {}
        for image in group:
            with contextlib.suppress(OSError, ValueError):
                parts.setdefault(key(image), []).append(image)
        found += [part for part in parts.values() if len(part) > 1]
    return found


def _size(_: Path, size: int) -> int:
    return size


def _middle(file: Path, size: int) -> bytes:
    with file.open('rb') as stream:
        stream.seek(max(0, size // 2 - PIECE // 2))
        return stream.read(PIECE)


def _whole(file: Path, _: int) -> bytes:
    return hash_of(file).digest()
