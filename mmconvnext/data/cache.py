# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Facts about files, kept in the user's cache folder, because the data folder may be read-only.

What is kept is valid while a file keeps its size and times.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmengine.logging import print_log

from ..checkpoint.atomic import atomic_path

WORKERS = 16  # most threads; Pillow releases the GIL while it decodes; our choice
PART = 32  # files that a thread takes at once; our choice
QUICK = 5e-4  # seconds a file, below which threads only wait for each other's GIL; our choice
UNUSED = 90 * 86400  # seconds after which a file of the cache that nobody used is removed; ours
SILENT = 5  # seconds between progress lines, and before the first; our choice


def cache_root() -> Path:
    """Our folder in the user's cache; os.devnull if the user has no home."""
    root = Path(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'))
    return root / 'mmconvnext' if root.is_absolute() else Path(os.devnull)


def facts_of(
    files: Iterable[Path], read: Callable[[Path], list], name: str, version: int, what: str
) -> dict[Path, list]:
    """``read(file)`` of every file, in the given order; what is known is not read again.

    Args:
        read: gives a list that JSON can hold; its last item is '' or an error, which is not kept.
        name: a folder of the cache, for this kind of facts.
        version: raise it when ``read`` gives something else than before.
        what: the things that are read, for lines of progress such as '... label maps read'.
    """
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    total, done = sum(map(len, by_folder.values())), 0
    found, progress = {}, Progress(what, total)
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        for folder, members in by_folder.items():
            file_of_cache = _cache_file(folder, name)
            known, stamps = _load(file_of_cache, version), stamps_of(folder)
            used(file_of_cache)
            fresh = [f for f in members if known.get(f.name, [None])[0] != stamps.get(f.name, [])]
            facts = {}
            parts = [fresh[i : i + PART] for i in range(0, len(fresh), PART)]
            for part, contents in zip(parts, _read_parts(parts, read, pool)):
                facts.update(zip(part, contents))
                done += len(part)
                progress.show(done)
            done += len(members) - len(fresh)
            for file in members:
                found[file] = facts[file] if file in facts else known[file.name][1]
            if facts:
                known.update({f.name: [stamps.get(f.name, []), facts[f]] for f in facts})
                kept = {n: known[n] for n in known if n in stamps and not known[n][1][-1]}
                _save(file_of_cache, dict(version=version, files=kept))
    return found


def _read_parts(
    parts: list[list[Path]], read: Callable[[Path], list], pool: ThreadPoolExecutor
) -> Iterator[list[list]]:
    """The first part shows whether the threads of ``pool`` help with the others."""
    start = time.perf_counter()
    first = [[*map(read, part)] for part in parts[:1]]
    quick = time.perf_counter() - start < QUICK * PART
    yield from first
    yield from (map if quick else pool.map)(lambda part: [*map(read, part)], parts[1:])


def hash_of(file: Path):
    """A hash of a file's content, to which more can be added (hashlib.file_digest of 3.11)."""
    found = hashlib.sha256()
    with file.open('rb') as stream:
        while piece := stream.read(2**20):
            found.update(piece)
    return found


def stamps_of(folder: Path) -> dict[str, list[int]]:
    """Size and times of the files in a folder; {} if it cannot be listed.

    The time of the last change cannot be set: a file that was replaced has another one, even if
    its modification time is that of an archive.
    """
    stamps = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # removed meanwhile, or a link without a file
                    if entry.is_file():
                        stat = entry.stat()
                        stamps[entry.name] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    except OSError:
        pass
    return stamps


class Progress:
    """Lines such as 'image headers: 500 of 9000, 8120 a second', once work takes long."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.start = what, total, time.monotonic()
        self.told = self.start

    def show(self, done: int) -> None:
        now = time.monotonic()
        if now - self.told > SILENT:
            self.told = now
            rate = done / (now - self.start)
            print_log(f'{self.what}: {done} of {self.total}, {rate:.0f} a second')


def used(file: Path) -> None:
    """Note that a file of the cache was used: not every disk keeps the time of access."""
    with contextlib.suppress(OSError):
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))


def forget_unused(folder: Path) -> None:
    """Remove the files in a folder of the cache that were neither written nor used for long."""
    with contextlib.suppress(OSError):  # another process may do the same
        for file in folder.iterdir():
            stat = file.stat()
            if max(stat.st_atime, stat.st_mtime) < time.time() - UNUSED:
                file.unlink()


@contextlib.contextmanager
def written(file: Path) -> Iterator[Path]:
    """A temporary path that becomes ``file`` of the cache, whole or not at all.

    Raises:
        ValueError: it cannot be written.
    """
    try:
        with atomic_path(file) as part:
            yield part
        forget_unused(file.parent)
    except OSError as error:
        raise ValueError(
            f'{file.name} cannot be written to the cache ({error}); set the variable '
            'XDG_CACHE_HOME to a folder that can be written to'
        ) from error


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Only one process works on ``file`` at a time: the ranks of a run wait for the first."""
    with contextlib.ExitStack() as stack:
        try:
            import fcntl

            file.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(f'{file}.lock', 'a'))
            used(Path(lock.name))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print_log(f'waiting for another process that works on {file.stem}')
                fcntl.flock(lock, fcntl.LOCK_EX)
        except (ImportError, OSError):  # no such locks here: the processes do the same work
            pass
        yield


def _cache_file(folder: Path, name: str) -> Path:
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return cache_root() / name / f'{digest}.json'


def _load(file: Path, version: int) -> dict[str, list]:
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        files = content['files'] if content['version'] == version else {}
        return {name: entry for name, entry in files.items() if _is_entry(entry)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}  # no cache yet, or not ours: read the files again


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and all(isinstance(part, list) and part for part in entry)
    )


def _save(file: Path, content: dict) -> None:
    try:
        with atomic_path(file) as part:  # other processes may write it too
            part.write_text(json.dumps(content), encoding='utf-8')
        forget_unused(file.parent)
    except OSError:
        pass  # the disk is full or read-only: read again next time
