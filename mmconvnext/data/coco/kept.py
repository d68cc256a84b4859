# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The sound form of a COCO file on disk, where mmdet reads it; made once, and kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from ...checkpoint.atomic import atomic_path
from ..cache import cache_root, forget_unused, hash_of, locked, stamps_of, used
from ..files import folded_suffix
from ..ledger import Ledger
from .read import CHECK as READ
from .sound import Facts, Sound, make_sound
from .wanted import Wanted

PIECE = 10_000  # entries that are encoded at once; our choice
VERSION = 4  # of what is kept; raise it when the sound form changes


class Kept(NamedTuple):
    """The file to read instead of a listed one, the same one if it is sound already."""

    file: Path
    facts: Facts
    ledger: Ledger


def sound_file(file: Path, wanted: Wanted) -> Kept:
    """Make a COCO file sound, or find what was made of the same content and images before.

    The sound form and what was noticed are kept in the user's cache folder, by a hash of the
    content. Nothing is written if something is refused.

    Raises:
        OSError: the sound form cannot be written.
    """
    if file.is_dir():
        return Kept(file, *make_sound(file, wanted)[1:3])
    try:
        digest = _digest(file, wanted)
    except OSError as error:
        ledger = Ledger()
        ledger.refuse(READ, f'{file} cannot be read: {error.strerror or error}')
        return Kept(file, Facts(), ledger)
    record = cache_root() / 'annotations' / f'{file.stem}-{digest}.json'
    with locked(record):
        known = _load(record, file)
        if known:
            return known
        sound = make_sound(file, wanted)
        if any(refusal.check not in wanted.passed for refusal in sound.ledger.refused):
            return Kept(file, sound.facts, sound.ledger)
        return _save(record, file, sound, wanted)


def _digest(file: Path, wanted: Wanted) -> str:
    content = hash_of(file)
    where = str(Path(wanted.folder).resolve())
    content.update(repr((VERSION, where, wanted._replace(folder=''))).encode())
    return content.hexdigest()[:16]


def _fingerprint(folder: Path, suffixes: list[str]) -> str:
    """Changes with the names, sizes and times of the files in a folder that may be images."""
    stamps = {n: stamp for n, stamp in stamps_of(folder).items() if folded_suffix(n) in suffixes}
    return hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()


def _load(record: Path, file: Path) -> Kept | None:
    try:
        content = json.loads(record.read_text(encoding='utf-8'))
        suffixes, folders = content['suffixes'], content['folders']
        same = all(_fingerprint(Path(f), suffixes) == mark for f, mark in folders.items())
        if content['sound']:
            file = record.with_name(content['sound'])
        if not same or not file.is_file():
            return None
        found = Kept(file, Facts(**content['facts']), Ledger.from_dict(content['ledger']))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # not made yet, or damaged
    used(record)
    if content['sound']:  # else it is the user's
        used(found.file)
    return found


def _save(record: Path, file: Path, sound: Sound, wanted: Wanted) -> Kept:
    folders = {str(Path(wanted.folder, f).resolve()): '' for f in sound.folders}
    folders = {folder: _fingerprint(Path(folder), sound.suffixes) for folder in folders}
    name = ''
    if sound.needed:
        mark = hashlib.sha256(repr(sorted(folders.items())).encode()).hexdigest()[:8]
        name = f'{record.stem}-{mark}.sound.json'
        with atomic_path(record.with_name(name)) as part:
            write_json(part, sound.content)
    content = dict(
        folders=folders,
        suffixes=sound.suffixes,
        sound=name,
        facts=asdict(sound.facts),
        ledger=sound.ledger.as_dict(),
    )
    try:
        with atomic_path(record) as part:
            part.write_text(json.dumps(content), encoding='utf-8')
        forget_unused(record.parent)
    except OSError:
        pass  # read again next time
    return Kept(record.with_name(name) if name else file, sound.facts, sound.ledger)


def write_json(file: Path, content: dict) -> None:
    """Write a dict; its lists in pieces, which json encodes many times quicker than json.dump."""
    with file.open('w', encoding='utf-8') as out:
        separator = '{'
        for key, value in content.items():
            out.write(f'{separator}{json.dumps(key)}: ')
            separator = ', '
            if not isinstance(value, list) or not value:
                out.write(json.dumps(value))
                continue
            for start in range(0, len(value), PIECE):
                piece = json.dumps(value[start : start + PIECE])
                out.write((',' if start else '[') + piece[1:-1])
            out.write(']')
        out.write('}')
