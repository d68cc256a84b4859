# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The ids in all label maps of a dataset, read once and cached.

A cached entry is valid while the file keeps its size and modification time. The cache is in the
user's cache folder, because the data folder may be read-only.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from ...checkpoint.atomic import atomic_path

VERSION = 1  # of the cache files; raise it when LabelMap changes
WORKERS = 16  # most threads; Pillow releases the GIL while it decodes; our choice
SILENT = 5  # seconds between progress lines, and before the first; our choice


class LabelMap(NamedTuple):
    """The ids in a file and its number of channels, or why it cannot be read."""

    ids: tuple[int, ...]
    channels: int = 1
    error: str = ''


def read_label_maps(files: Iterable[Path], what: str = '') -> dict[Path, LabelMap]:
    """The content of every file, in the given order; progress lines begin with ``what``."""
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    total, decoded = sum(map(len, by_folder.values())), 0
    found, start = {}, time.monotonic()
    told = start
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        for folder, members in by_folder.items():
            cache = _cache_file(folder)
            known, stamps = _load(cache), {file: _stamp(file) for file in members}
            fresh = [file for file in members if known.get(file.name, [None])[0] != stamps[file]]
            read = {}
            for file, content in zip(fresh, pool.map(read_label_map, fresh)):
                read[file] = content
                decoded += 1
                if time.monotonic() - told > SILENT:
                    told = time.monotonic()
                    done, rate = len(found) + len(read), decoded / (told - start)
                    print_log(f'{what}: {done} of {total} label maps read, {rate:.0f} per second')
            for file in members:
                found[file] = read[file] if file in read else _remembered(known[file.name])
            if read:
                known.update({f.name: [stamps[f], read[f]] for f in read if not read[f].error})
                names = set(os.listdir(folder)) if folder.is_dir() else set()
                _save(cache, {name: known[name] for name in known if name in names})
    return found


def read_label_map(file: Path) -> LabelMap:
    """Decode one file, as mmseg does: palette images hold ids, 1-bit images 0 and 1."""
    try:
        with Image.open(file) as image:
            channels = len(image.getbands())
            if channels > 1:
                return LabelMap((), channels)
            if image.mode in ('L', 'P'):  # many times quicker than np.unique
                return LabelMap(tuple(i for i, n in enumerate(image.histogram()) if n))
            return LabelMap(tuple(int(i) for i in np.unique(np.asarray(image))))
    except Exception as error:  # a broken file can raise anything
        return LabelMap((), 0, f'{type(error).__name__}: {error}')


def _remembered(entry: list) -> LabelMap:
    ids, channels, error = entry[1]
    return LabelMap(tuple(ids), channels, error)


def _stamp(file: Path) -> list[int]:
    try:
        stat = file.stat()
    except OSError:  # missing: reported where it is read
        return []
    return [stat.st_size, stat.st_mtime_ns]


def cache_root() -> Path:
    """Our folder in the user's cache; os.devnull if the user has no home."""
    root = Path(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'))
    return root / 'mmconvnext/label_maps' if root.is_absolute() else Path(os.devnull)


def _cache_file(folder: Path) -> Path:
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return cache_root() / f'{name}.json'


def _load(cache: Path) -> dict[str, list]:
    try:
        content = json.loads(cache.read_text())
        files = content['files'] if content['version'] == VERSION else {}
        return {name: entry for name, entry in files.items() if _is_entry(entry)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}  # no cache yet, or not ours: read the files again


def _is_entry(entry: object) -> bool:
    """Whether ``entry`` has the form that ``read_label_maps`` saves; a damaged file may not."""
    try:
        stamp, (ids, channels, error) = entry
    except (TypeError, ValueError):
        return False
    numbers = [*ids, channels] if isinstance(ids, list) else [None]
    return (
        isinstance(stamp, list)
        and all(type(number) is int for number in numbers)
        and isinstance(error, str)
    )


def _save(cache: Path, files: dict[str, list]) -> None:
    try:
        with atomic_path(cache) as part:  # other processes may write it too
            part.write_text(json.dumps(dict(version=VERSION, files=files)))
    except OSError:
        pass  # the disk is full or read-only: the maps are read again next time
