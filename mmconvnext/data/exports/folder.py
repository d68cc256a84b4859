# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The files below a folder, listed once, and which of them a name in an annotation file means."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from ..files import folded
from ..images import read_headers
from ..listing import folders_of
from ..pairs import IMAGES
from ..texts import decoded, text_of

HEAD = 4096  # characters of a file that tell its format; our choice
SAMPLE = 20  # names by which the folder of the images is found; our choice
MAPS = {'segmentationclass', 'segmentationobject', 'masks', 'labels'}  # names of folders; ours
# Names of folders that tell the split; ours, from the exports of the common tools.
SPLITS = dict(
    train='train', training='train', train2017='train', val='val', valid='val', validation='val',
    val2017='val', dev='val', test='test', testing='test', test2017='test',
)  # fmt: skip


class SourceError(ValueError):
    """What is wrong with a person's data, and the way out."""


class Folder:
    """All files below a folder; hidden ones are left out. Links to folders are followed.

    Args:
        source: a folder, or the one annotation file of it that is to be read.

    Raises:
        OSError: a folder below it cannot be read.
    """

    def __init__(self, source: Path):
        self.only = source if source.is_file() else None
        self.root = source.parent if self.only else source
        self.files = [Path(place, n) for place, names in folders_of(self.root) for n in names]
        self._by_name: dict[str, list[Path]] = {}

    @functools.cached_property
    def images(self) -> list[Path]:
        """Image files, label maps among them."""
        return [file for file in self.files if file.suffix.lower() in IMAGES]

    @functools.cached_property
    def _headers(self) -> dict:
        return read_headers(self.images)

    def size(self, image: Path) -> tuple[int, int]:
        """(width, height) of an image as mmcv loads it, turned by its EXIF orientation.

        (0, 0) if it cannot be read, which the checks of the whole data tell.
        """
        header = self._headers.get(image) or read_headers([image])[image]
        return (0, 0) if header.error else header.loaded

    @functools.cached_property
    def image_sets(self) -> dict[str, str]:
        """By the stem of an image its split, from VOC's ImageSets/*/train.txt and the like."""
        found: dict[str, str] = {}
        for file in self.files:
            if 'ImageSets' in file.parts and file.suffix == '.txt' and file.stem.lower() in SPLITS:
                for line in text_of(file, errors='replace').splitlines():
                    if line.strip():
                        stem = Path(line.split()[0]).stem
                        found.setdefault(stem, SPLITS[file.stem.lower()])
        return found

    def of(self, *suffixes: str) -> list[Path]:
        """Annotation files with one of these suffixes: the given one, or all of them."""
        files = [self.only] if self.only else self.files
        return [file for file in files if file.suffix.lower() in suffixes]

    def below(self, file: Path) -> str:
        """The name of a file, from the folder; it may begin with ../"""
        return Path(os.path.relpath(file, self.root)).as_posix()

    def find(self, name: str, near: Path) -> Path | None:
        """The image that a name means; None if there is none, or if several fit equally well.

        Args:
            name: as it is written, maybe with folders of another machine.
            near: the folder of the annotation file, where names begin.
        """
        parts = [p for p in PureWindowsPath(name.strip()).parts if p not in ('.', '..')]
        if not parts:
            return None
        direct = Path(os.path.normpath(near / name))
        try:
            there = direct.is_file()
        except (OSError, ValueError):  # a name that no file can have
            there = False
        if there and not Path(name).is_absolute():
            return direct
        found = _best(self._named(parts[-1]), parts, near)
        return direct if found is None and there else found

    def of_stem(self, stem: str, near: Path, folders: Iterable[str] = ()) -> Path | None:
        """The image with a stem, as for a label file of the same stem."""
        found = [file for file in self._named(stem, whole=False) if file.suffix.lower() in IMAGES]
        return _best(found, [*folders, stem], near)

    def root_of(self, names: list[str], near: Path, split: str = '') -> Path | None:
        """The folder from which most of the names of an annotation file are found.

        Of several, the one that is called like the split counts, then the nearest.

        Raises:
            SourceError: two folders fit equally well.
        """
        votes: Counter[Path] = Counter()
        for name in names[:: max(1, len(names) // SAMPLE)][:SAMPLE]:
            parts = [p for p in PureWindowsPath(name.strip()).parts if p not in ('.', '/', '\\')]
            for file in self._named(parts[-1]) if parts else ():
                if [*map(folded, file.parts[-len(parts) :])] == [*map(folded, parts)]:
                    votes[Path(*file.parts[: -len(parts)])] += 1
        if not votes:
            return None

        def rank(root: Path) -> tuple:
            same = bool(split) and split_in(f'{self.below(root)}/') == split
            return same, not in_maps(root / 'x'), *_nearness(root, near)

        best = sorted((f for f in votes if votes[f] == max(votes.values())), key=rank)
        if len(best) > 1 and rank(best[-1]) == rank(best[-2]):
            raise SourceError(
                f'images of these names are in {best[-1]} and in {best[-2]}, and {near} does not '
                'tell which are meant: move the others away, or give a folder with one of them'
            )
        return best[-1]

    def _named(self, name: str, whole: bool = True) -> list[Path]:
        if not self._by_name:
            for file in self.images:
                for key in {folded(file.name), f'{folded(file.stem)}/'}:
                    self._by_name.setdefault(key, []).append(file)
        found = self._by_name.get(folded(name) if whole else f'{folded(name)}/', [])
        # Names of old exports of CVAT have no suffix.
        return found if found or not whole else self._by_name.get(f'{folded(name)}/', [])


def _best(found: list[Path], parts: list[str], near: Path) -> Path | None:
    """The file whose path ends most like the parts, then the nearest; None if two are."""
    ranked = sorted(
        ((_alike(file, parts), not in_maps(file), *_nearness(file, near)), file) for file in found
    )
    if not ranked or (len(ranked) > 1 and ranked[-1][0] == ranked[-2][0]):
        return None
    return ranked[-1][1]


def in_maps(file: Path) -> bool:
    """Whether a file lies in a folder of label maps, which are called like their images."""
    return not MAPS.isdisjoint(map(str.lower, file.parts[:-1]))


def _alike(file: Path, parts: list[str]) -> int:
    """How many folders before the name agree."""
    count = 0
    for one, other in zip(reversed(file.parts[:-1]), reversed(parts[:-1])):
        if folded(one) != folded(other):
            break
        count += 1
    return count


def _nearness(path: Path, near: Path) -> tuple[int, int]:
    """Larger if more of the path is shared, then if less follows."""
    shared = len(os.path.commonpath([path, near]).split(os.sep))
    return shared, -len(path.parts)


def split_in(path: str) -> str:
    """'train', 'val' or 'test' by the folders of a file, the last first; '' if none tells.

    The name of an image does not count: train_1.jpg may show a train.
    """
    folders = re.split(r'[/\\]', path.lower())[:-1]
    words = [word for name in reversed(folders) for word in re.split(r'[^a-z0-9]+', name)]
    return next((SPLITS[word] for word in words if word in SPLITS), '')


def split_of_file(path: str) -> str:
    """The same for an annotation file, whose own name tells more than its folders."""
    return split_in(f'{path.rpartition("/")[2].rpartition(".")[0]}/') or split_in(path)


def lines_of(file: Path) -> list[str]:
    """The lines of a text that names classes.

    Raises:
        SourceError: it is no UTF-8, so that the names would be wrong.
    """
    try:
        return text_of(file).splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f'{file} cannot be read: {error}; save it as UTF-8') from error


def head(file: Path) -> str:
    """The beginning of a text; '' if it is none."""
    try:
        with file.open('rb') as stream:
            return decoded(stream.read(HEAD), 'replace')
    except OSError:
        return ''
