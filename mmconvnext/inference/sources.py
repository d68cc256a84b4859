# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Finds the images and videos that a command line names."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..data.listing import folders_of
from ..data.pairs import IMAGES as COMMON
from ..recipe.errors import RecipeError
from .arguments import cut, shown
from .records import NAME as RECORDS

IMAGES = (*COMMON, '.jpe', '.jp2', '.pbm', '.pgm', '.ppm', '.gif', '.npy')  # in any case
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')
CAMERA, LIST = 'camera:', '@'
KINDS = (
    f'an image ({" ".join(IMAGES)}), a video ({" ".join(VIDEOS)}), a folder, a pattern such as '
    "'photos/*.jpg', @FILE with a path in each line, or camera:0"
)
MOST_CAMERA = 99  # from 100 on OpenCV's numbers stand for its ways to read cameras
OUTPUTS = ('.png', '.jpg', '.mp4')
LONGEST = 120  # bytes of a part of a name that is written; file systems allow 255; our choice


class Source(NamedTuple):
    """One image, video or camera."""

    kind: str  # 'image', 'video' or 'camera'
    path: str  # absolute; the number of a camera
    name: str  # below the folder that was given, with slashes

    @property
    def stamp(self) -> list[int]:
        """Size and time of the file: if they change, it is another one."""
        if self.kind == 'camera':
            return []
        try:
            stat = os.stat(self.path)
        except OSError:
            return []
        return [stat.st_size, stat.st_mtime_ns]


def find_sources(inputs: Iterable[str], out: Path) -> list[Source]:
    """All images and videos, each once, in the order given; folders are sorted.

    Args:
        inputs: see KINDS.
        out: a folder whose files are no inputs, as when it is inside of an input.

    Raises:
        RecipeError: an input does not exist, is something else, or holds nothing.
    """
    found: dict[str, Source] = {}
    for given in inputs:
        for source in _of_input(given, Path(os.path.realpath(out))):
            found.setdefault(source.path, source)
    return [*found.values()]


def _of_input(given: str, out: Path) -> Iterator[Source]:
    if not given.strip():
        raise RecipeError(f'{given!r} is no input; the working folder is . An input is {KINDS}')
    # Those of Path fail for ~nobody, and for a name that is too long.
    path = Path(os.path.expanduser(given))
    if os.path.isdir(path):
        yield from _of_folder(path, out)
    elif os.path.exists(path):
        yield _of_file(path, path.name, given)
    elif given.startswith(CAMERA):
        yield _of_camera(given)
    elif given.startswith(LIST) and len(given) > 1:
        yield from _of_list(Path(os.path.expanduser(given[1:])), out)
    elif glob.has_magic(given):
        yield from _of_pattern(given, out)
    elif '://' in given:
        raise RecipeError(f'{shown(given)} is a URL; download the file and give its path')
    else:
        raise RecipeError(f'there is no {shown(given)}; an input is {KINDS}')


def _of_camera(given: str) -> Source:
    number = given[len(CAMERA) :]
    known = number.isascii() and number.isdecimal() and len(number) < 9  # int() takes no 5000
    if not (known and int(number) <= MOST_CAMERA):
        raise RecipeError(
            f'{shown(given)}: give the number of the camera, 0 to {MOST_CAMERA}, such as camera:0'
        )
    return Source('camera', str(int(number)), f'camera_{int(number)}')


def _of_file(path: Path, name: str, given: str) -> Source:
    if path.suffix.lower() in VIDEOS:
        kind = 'video'
    elif path.suffix.lower() in IMAGES:
        kind = 'image'
    else:
        raise RecipeError(f'{given!r} is a file of another kind; an input is {KINDS}')
    return Source(kind, os.path.abspath(path), name)


def _of_folder(folder: Path, out: Path) -> Iterator[Source]:
    others: set[str] = set()
    count = 0
    # Nor what this tool wrote earlier, where each image would be found again.
    for root, files in folders_of(folder, lambda one: _is_output(one, folder, out)):
        for file in files:
            path = Path(root, file)
            if path.suffix.lower() in (*IMAGES, *VIDEOS):
                count += 1
                yield _of_file(path, path.relative_to(folder).as_posix(), str(path))
            else:
                others.add(path.suffix.lower() or file)
    if not count:
        holds = f'only {", ".join(sorted(others)[:8])}' if others else 'no files'
        raise RecipeError(f'the folder {str(folder)!r} holds no image and no video, {holds}')


def _is_output(place: str, given: Path, out: Path) -> bool:
    if place == str(given):
        return False
    return os.path.realpath(place) == str(out) or os.path.exists(os.path.join(place, RECORDS))


def _of_list(file: Path, out: Path) -> Iterator[Source]:
    try:
        # Names may hold what else splitlines takes for the end of a line.
        lines = file.read_text(encoding='utf-8-sig').split('\n')
    except (OSError, UnicodeDecodeError) as error:
        text = getattr(error, 'strerror', None) or error
        raise RecipeError(
            f'@{cut(str(file))}: it cannot be read as a list of paths: {text}'
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise RecipeError(f'@{file} is empty; write the path of an image in each line')
    for number, name in enumerate(names, 1):
        path = file.parent / os.path.expanduser(name)
        if not os.path.isfile(path):
            raise RecipeError(
                f'@{file}, path {number} of {len(names)}: there is no file {cut(str(path))}'
            )
        plain = not Path(name).is_absolute() and '..' not in Path(name).parts
        yield _of_file(path, Path(name).as_posix() if plain else path.name, str(path))


def _of_pattern(given: str, out: Path) -> Iterator[Source]:
    pattern = os.path.expanduser(given)
    fixed = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed) if fixed else Path()
    count = 0
    for name in sorted(glob.glob(pattern, recursive=True)):
        path = Path(name)
        known = path.suffix.lower() in (*IMAGES, *VIDEOS)
        if path.is_file() and known and out not in path.resolve().parents:
            count += 1
            below = os.path.relpath(os.path.normpath(path), os.path.normpath(root))
            # Never with '..', which would lead out of the folder of the outputs.
            yield _of_file(path, path.name if '..' in below else Path(below).as_posix(), name)
    if not count:
        raise RecipeError(f'no image and no video matches {shown(given)}')


def keys_of(sources: Iterable[Source], taken: dict[str, str]) -> dict[str, str]:
    """By path, the name below which the outputs of a source are written, without a suffix.

    It is the source's own name; if another one has it, its suffix, its folder or a number is added.
    The outputs of a video's frames are in a folder of its name, where no image has its own.

    Args:
        taken: the names of an earlier start, by path, which stay.
    """
    keys, names = dict(taken), _Names()
    for path, key in taken.items():
        names.add(key, path.isdecimal() or Path(path).suffix.lower() in VIDEOS)
    for source in sorted(sources, key=lambda one: one.kind != 'image'):  # they keep their folders
        if source.path in keys:
            continue
        plain, frames = Path(source.name), source.kind != 'image'
        stem = plain.with_suffix('') if source.kind != 'camera' else plain
        suffix = plain.suffix.lower().lstrip('.')
        above = Path(source.path).parent.name
        tries = [stem, stem.with_name(f'{stem.name}_{suffix}'), Path(above, stem)]
        for base in (stem, Path('_'.join(stem.parts))):  # the folder may be that of frames
            tries += (base.with_name(f'{base.name}_{n}') for n in range(2, len(keys) + 3))
        found = ('/'.join(_short(part) for part in one.parts) for one in tries)
        keys[source.path] = next(name for name in found if names.are_free(name, frames))
        names.add(keys[source.path], frames)
    return keys


class _Names:
    """Names that are taken, in lower case, as many disks do not tell cases apart."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.folders: set[str] = set()  # that hold some of them
        self.closed: set[str] = set()  # files of outputs, and folders of frames

    def add(self, name: str, frames: bool) -> None:
        name = name.lower()
        self.used.add(name)
        self.folders.update(_above(name))
        self.closed.update(f'{name}{suffix}' for suffix in OUTPUTS)
        self.closed.update([name] * frames)

    def are_free(self, name: str, frames: bool) -> bool:
        name = name.lower()
        files = {f'{name}{suffix}' for suffix in OUTPUTS} | {*[name] * frames}
        apart = self.folders.isdisjoint(files) and self.closed.isdisjoint(_above(name))
        return apart and name not in self.used


def _above(name: str) -> list[str]:
    return [folder.as_posix() for folder in PurePosixPath(name).parents][:-1]


def _short(part: str) -> str:
    """A part of a path that leaves room for what is added to it."""
    coded = os.fsencode(part)
    if len(coded) <= LONGEST:
        return part
    head = coded[: LONGEST - 9].decode('utf-8', 'ignore')
    return f'{head}-{hashlib.sha256(coded).hexdigest()[:8]}'
