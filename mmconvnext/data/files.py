# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finds listed images on disk, by listing each folder once, and says where the others may be."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


class Files:
    """The files below a folder; names may differ in case, slashes or Unicode form."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self._folders: dict[str, tuple[set[str], dict[str, list[str]]]] = {}

    def find(self, name: str) -> str | None:
        """The name as it is on disk, below the root; None if no or several files fit."""
        folder, _, base = name.rpartition('/')
        names, by_fold = self._list(folder)
        if base in names:
            return name
        if '\\' in name:
            return self.find(name.replace('\\', '/'))
        near = by_fold.get(folded(base), [])
        found = near[0] if len(near) == 1 else None
        return f'{folder}/{found}' if folder and found else found

    def hint(self, name: str) -> str:
        """Where a file that was not found may be."""
        slashed = name.replace('\\', '/')
        if '://' in slashed:
            return 'it is a URL: download the images, and write their names'
        parts = slashed.split('/')
        for i in range(1, len(parts)):
            rest = '/'.join(parts[i:])
            if self.find(rest):
                return (
                    f'{rest} exists, so file_name has {"/".join(parts[:i])!r} too many: remove it '
                    'there, or set images to the folder above'
                )
        stem = folded(parts[-1].rpartition('.')[0])
        folder, (names, _) = '/'.join(parts[:-1]), self._list('/'.join(parts[:-1]))
        others = sorted(n for n in names if stem and folded(n.rpartition('.')[0]) == stem)
        if others:
            return f'{others[0]} is there: correct the suffix'
        deeper = self._search(parts[-1])
        if deeper:
            return f'it is in {deeper}: set images to that folder, or write it in file_name'
        if not (self.root / folder).is_dir():
            return f'there is no folder {self.root / folder}: correct images'
        return 'correct images, or remove the entry from the file'

    def _list(self, folder: str) -> tuple[set[str], dict[str, list[str]]]:
        if folder not in self._folders:
            try:
                names = set(os.listdir(self.root / folder))
            except OSError:
                names = set()
            by_fold: dict[str, list[str]] = {}
            for name in names:
                by_fold.setdefault(folded(name), []).append(name)
            self._folders[folder] = names, by_fold
        return self._folders[folder]

    @property
    def folders(self) -> list[str]:
        """The folders that were listed, below the root."""
        return sorted(self._folders)

    def _search(self, base: str) -> str:
        for folder, _, names in os.walk(self.root):
            if base in names:
                return folder
        return ''


def folded(name: str) -> str:
    """A key for names that file systems and zip programs spell differently."""
    return unicodedata.normalize('NFC', name).casefold()
