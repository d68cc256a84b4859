# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finds listed images on disk, by listing each folder once, and says where the others may be."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

MOST = 10_000  # folders that are searched for a file; our choice


class Folder(NamedTuple):
    """The names in a folder, those that are spelt alike, and why it cannot be listed."""

    names: set[str]
    by_fold: dict[str, list[str]]
    error: str = ''


class Files:
    """The files below a folder; names may differ in case, slashes or Unicode form.

    They may also be quoted as in URLs, or have blanks around them.

    Args:
        strip_folders: names may begin with folders that are not there.
    """

    def __init__(self, root: str | Path, strip_folders: bool = False):
        self.root, self.strip_folders = Path(root), strip_folders
        self.suffixes: set[str] = set()  # of the names that were looked for, folded
        self._folders: dict[str, Folder] = {}
        self._on_disk: dict[str, str | None] = {}

    def find(self, name: str) -> str | None:
        """The name as it is on disk, below the root; None if no or several files fit.

        A name that is a whole path is returned as it is if it exists.
        """
        self.suffixes.add(folded_suffix(name))
        found = self._find(name)
        return self._without_folders(name)[1] if found is None and self.strip_folders else found

    def _find(self, name: str) -> str | None:
        folder, slash, base = name.rpartition('/')
        where = self._folder(folder + slash * (not folder))
        if where is not None and base in self._list(where).names:
            return name if where == folder or not folder else f'{where}/{base}'
        # A slash at the beginning is the root of the tool that wrote the name, maybe for URLs.
        for other in (name.replace('\\', '/'), name.lstrip('/'), unquote(name), name.strip()):
            if other != name:
                return self._find(other)
        near = [] if where is None else self._list(where).by_fold.get(folded(base), [])
        if len(near) != 1:
            return None
        return f'{where}/{near[0]}' if where else near[0]

    def hint(self, name: str) -> str:
        """Where a file that was not found may be."""
        parts = name.replace('\\', '/').split('/')
        if name.startswith('data:'):
            return 'it is an image written as text: save the images as files'
        above, rest = self._without_folders(name)
        if rest:
            way = 'set own_data.strip_folders=True'
            if self.root.resolve().parts[-len(above) :] == tuple(above):
                way += ', or images to the folder above'
            return f'{rest} exists, so file_name has {"/".join(above)!r} too many: {way}'
        if '://' in name:
            return 'it is a URL: download the images, and write their names'
        folder = '/'.join(parts[:-1])
        where = self._folder(folder)
        if where is None:
            return f'there is no folder {self.root / folder}: correct images'
        found = self._list(where)
        if found.error:
            return f'the folder {self.root / where} cannot be listed ({found.error})'
        alike = sorted(found.by_fold.get(folded(parts[-1]), []))
        if alike:
            return f'{" and ".join(alike)} differ only in case: write one of them in file_name'
        stem = folded(_stem(parts[-1]))
        others = sorted(n for n in found.names if stem and folded(_stem(n)) == stem)
        if others:
            return f'{others[0]} is there: correct the suffix'
        deeper = self._search(folded(parts[-1]))
        if deeper:
            return f'it is in {deeper}: set images to that folder, or write it in file_name'
        return 'correct images, or remove the entry from the file'

    def _without_folders(self, name: str) -> tuple[list[str], str | None]:
        """The folders that a name has too many, and what is found without them."""
        parts = name.replace('\\', '/').split('/')
        for i in range(1, len(parts)):
            found = self._find('/'.join(parts[i:]))
            if found is not None:
                return parts[:i], found
        return [], None

    @property
    def folders(self) -> list[str]:
        """The folders below the root that were listed, or were missing."""
        return sorted(self._folders)

    def _folder(self, folder: str) -> str | None:
        """A folder as it is on disk; None if there is none."""
        if folder not in self._on_disk:
            try:
                there = (self.root / folder).is_dir()
            except (OSError, ValueError):  # a name that no file can have
                there = False
            found = folder if there or not folder else self._find(folder)
            self._on_disk[folder] = found
            if found is None:
                self._list(folder)  # that it is missing is worth a record
        return self._on_disk[folder]

    def _list(self, folder: str) -> Folder:
        if folder not in self._folders:
            names, error = set(), ''
            try:
                names = set(os.listdir(self.root / folder))
            except (OSError, ValueError) as problem:
                error = (getattr(problem, 'strerror', None) or str(problem)).lower()
            by_fold: dict[str, list[str]] = {}
            for name in names:
                by_fold.setdefault(folded(name), []).append(name)
            self._folders[folder] = Folder(names, by_fold, error)
        return self._folders[folder]

    def _search(self, base: str) -> str:
        for count, (folder, _, names) in enumerate(os.walk(self.root)):
            if count == MOST:
                break
            if any(folded(name) == base for name in names):
                return folder
        return ''


def folded(name: str) -> str:
    """A key for names that file systems and zip programs spell differently."""
    return unicodedata.normalize('NFC', name).casefold()


def folded_suffix(name: str) -> str:
    """The folded suffix of a file name, without blanks behind it; '' if it has none."""
    return folded(posixpath.splitext(name.strip())[1])


def _stem(name: str) -> str:
    return name.rpartition('.')[0] or name
