# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What lies in a folder: COCO files, images, and annotations in formats to be converted."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ..data import formats
from ..data.coco.read import LISTS
from ..data.listing import folders_of
from ..data.pairs import suffix_of
from ..recipe.errors import RecipeError

MOST = 20_000  # folders that are looked into; our choice
JSONS, PROBES = 50, 5  # JSON and text files of a folder that are looked at; our choice
LARGE = 2**26  # bytes; larger JSON files that do not begin as COCO's are not parsed; our choice
# COCO's other files of the same images, by the first word of their names.
OTHER_TASKS = ('captions', 'person', 'panoptic', 'stuff', 'image')
SPLITS = {
    'train': ('train', 'training'),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test', 'testing'),
}
TEXTS = ('.txt', '.xml', '.yaml', '.yml', '.csv')


@dataclass
class Seen:
    """The contents of a folder, with paths relative to it.

    Attributes:
        coco: the files that are COCO's by how they begin.
        folders: of each folder that has some, the number of images directly in it.
        arrays: folders that hold .npy files.
        others: of each other format, how many files and the first of them.
    """

    root: Path
    coco: list[Path] = field(default_factory=list)
    folders: dict[Path, int] = field(default_factory=dict)
    arrays: list[Path] = field(default_factory=list)
    others: dict[str, tuple[int, Path]] = field(default_factory=dict)

    def told(self) -> str:
        """All of it in a few lines, for messages."""
        lines = [f'COCO file {path}' for path in map(_shown, self.coco)]
        lines += [f'{_number(n, "image")} in {_shown(p)}' for p, n in self.folders.items()]
        lines += [
            f'{_number(n, "file")} of {kind}, such as {p}' for kind, (n, p) in self.others.items()
        ]
        shown = lines[:12]  # our choice
        more = [f'and {len(lines) - len(shown)} more'] * (len(lines) > len(shown))
        return '\n'.join(f'  {line}' for line in [*shown, *more]) or '  nothing'


def look(root: Path) -> Seen:
    """List the folder and all below it but for hidden ones.

    Raises:
        RecipeError: it is not a folder, or holds neither images nor annotations.
        OSError: a folder below it cannot be read.
    """
    if not root.is_dir():
        what = 'is a file, not a folder' if root.exists() else 'does not exist'
        raise RecipeError(f'{root} {what}: give the folder of your images and annotations')
    seen, counts = Seen(root), Counter()
    first: dict[str, Path] = {}
    for place, names in islice(folders_of(root), MOST):
        folder = Path(place).relative_to(root)
        files = [folder / name for name in names]
        images = sum(bool(suffix_of(file.name)) for file in files)
        if images:
            seen.folders[folder] = images
        if any(file.suffix == '.npy' for file in files):
            seen.arrays.append(folder)
        jsons = [file for file in files if file.suffix.lower() == '.json']
        coco, kind, file = _coco_files(root, jsons)
        seen.coco += coco
        found = [(kind, file, len(jsons))] if kind else []
        for suffix in TEXTS:
            texts = [file for file in files if file.suffix.lower() == suffix]
            kinds = [(_kind_of_text(root / file), file) for file in texts[:PROBES]]
            kind, file = next((pair for pair in kinds if pair[0]), (None, None))
            found += [(kind, file, len(texts))] if kind else []
        for kind, file, count in found:
            counts[kind] += count
            first.setdefault(kind, file)
    seen.others = {kind: (counts[kind], file) for kind, file in first.items()}
    if not (seen.folders or seen.coco or seen.others):
        raise RecipeError(f'{root} holds neither images nor annotations; is it the right folder?')
    return seen


def prepare_command(root: Path, more: str = '') -> str:
    """The command that brings data of any form into one that is read here."""
    folders = f'{shlex.quote(str(root))} {shlex.quote(str(root) + "_prepared")}'
    return f'python tools/prepare_data.py {folders} {more}'.rstrip()


def split_of(path: Path) -> str:
    """'train', 'val' or 'test', by the words in a path, those of its last part first; else ''."""
    for part in reversed(path.parts):
        words = set(re.split(r'[^a-z]+', part.lower()))
        found = [split for split, spellings in SPLITS.items() if words & set(spellings)]
        if len(found) == 1:
            return found[0]
    return ''


def _coco_files(root: Path, jsons: list[Path]) -> tuple[list[Path], str, Path | None]:
    """The COCO files of a folder, and the format of the first other JSON file that has one."""
    coco, kind, first = [], '', None
    for file in jsons[:JSONS]:
        if re.match(formats.COCO, _start(root / file)):
            coco.append(file)
        elif not kind:
            content = _parsed(root / file)
            if isinstance(content, dict) and content.keys() >= {*LISTS}:
                coco.append(file)
                continue
            find = formats.of_object if isinstance(content, dict) else formats.of_list
            found = find(content) if isinstance(content, (dict, list)) else None
            kind, first = (_named(found[0]), file) if found else ('', None)
    instances = [file for file in coco if file.name.startswith('instances')]
    others = [f for f in coco if re.split('[^a-z]', f.name.lower())[0] in OTHER_TASKS]
    return [file for file in instances or coco if file not in others], kind, first


def _named(kind: str) -> str:
    return re.sub(r'^an? | file of one image$', '', kind)


def _parsed(file: Path) -> object:
    try:
        return json.loads(file.read_bytes()) if file.stat().st_size < LARGE else None
    except (OSError, ValueError, RecursionError):
        return None


def _kind_of_text(file: Path) -> str | None:
    found = formats.of_text(_start(file))
    return found[0] if found and found[0] not in ('XML', 'a list of images') else None


def _start(file: Path) -> str:
    try:
        with file.open('rb') as stream:
            return stream.read(formats.HEAD).decode('utf-8-sig', 'replace')
    except OSError:
        return ''


def _number(count: int, what: str) -> str:
    return f'{count} {what}{"s" * (count != 1)}'


def _shown(path: Path) -> str:
    return 'the folder itself' if path == Path() else path.as_posix()
