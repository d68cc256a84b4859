# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Parts of a COCO file as files of their own, in the user's cache, for splits."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from ..cache import cache_root, hash_of, locked, used, written
from ..ledger import Ledger
from ..split import choose, divide
from ..values import key
from .kept import write_json
from .read import read_coco
from .references import References


def divided(file: Path, fraction: float) -> tuple[Path, Path]:
    """Two files: to learn from, and to measure with; see :func:`..split.divide`.

    The listed file twice if it cannot be read, which the checks then say. An image that is listed
    twice, which they refuse, is whole in one of them.

    Raises:
        ValueError: there is only one image, the parts cannot be written, or the ids of images are
            off by one, which the parts alone do not show.
    """

    def images(content: dict) -> Mapping[str, set]:
        names, classes = _by_name(content), _classes(content)
        contents = {name: set().union(*map(classes.get, ids)) for name, ids in names.items()}
        return {
            part: {i for name in chosen for i in names[name]}
            for part, chosen in zip(('train', 'val'), divide(contents, fraction))
        }

    train, val = _parts(file, f'divided {fraction!r}', ('train', 'val'), images)
    return train, val


def chosen(file: Path, wanted: list[str]) -> Path:
    """A file with the images of these names only.

    Raises:
        ValueError: the file does not list one of the names, or see :func:`divided`.
    """

    def images(content: dict) -> Mapping[str, set]:
        names = _by_name(content)
        found, unknown = choose(list(names), wanted)
        if unknown:
            raise ValueError(f'{file} does not list {unknown[:5]}')
        return dict(chosen={i for name in found for i in names[name]})

    (part,) = _parts(file, f'chosen {sorted(wanted)!r}', ('chosen',), images)
    return part


def _by_name(content: dict) -> dict[str, set]:
    """The keys of the images of each file; mostly one."""
    found: dict[str, set] = {}
    for entry in content['images']:
        if isinstance(entry, dict):
            name = posixpath.normpath(str(entry.get('file_name')))
            found.setdefault(name, set()).add(key(entry.get('id')))
    return found


def _classes(content: dict) -> dict[object, set]:
    """The keys of the categories in each image."""
    found: dict = {key(e.get('id')): set() for e in content['images'] if isinstance(e, dict)}
    for entry in content['annotations']:
        image = key(entry.get('image_id')) if isinstance(entry, dict) else None
        if image in found:
            found[image].add(key(entry.get('category_id')))
    return found


def _parts(
    file: Path,
    what: str,
    names: tuple[str, ...],
    images: Callable[[dict], Mapping[str, set]],
) -> list[Path]:
    try:
        digest = hash_of(file)
    except OSError:  # a folder, or missing
        return [file] * len(names)
    digest.update(what.encode())
    stem = f'{file.stem}-{digest.hexdigest()[:16]}'
    parts = [cache_root() / 'splits' / f'{stem}-{name}.json' for name in names]
    with locked(parts[0]):
        if not all(part.is_file() for part in parts):
            content = read_coco(file, Ledger())
            if content is None:
                return [file] * len(names)
            _refuse_shifted(file, content)
            wanted = images(content)
            for name, part in zip(names, parts):
                _write(part, content, wanted[name], name != 'val')
    for part in parts:
        used(part)
    return parts


def _refuse_shifted(file: Path, content: dict) -> None:
    entries = [entry for entry in content['images'] if isinstance(entry, dict)]
    references = References('image_id', {key(entry.get('id')): entry for entry in entries})
    for entry in content['annotations']:
        if isinstance(entry, dict):
            references.find(entry)
    ledger = Ledger()
    references.judge(ledger)
    if ledger.refused:
        raise ValueError(f'{file}: {ledger.refused[0].text}')


def _write(part: Path, content: dict, wanted: set, others: bool) -> None:
    """``others``: also what belongs to no image, for the checks to name it."""
    known = {key(e.get('id')) for e in content['images'] if isinstance(e, dict)}

    def belongs(entry: object, field: str) -> bool:
        image = key(entry.get(field)) if isinstance(entry, dict) else None
        return image in wanted or (others and image not in known)

    with written(part) as out:
        write_json(
            out,
            {
                **content,
                'images': [e for e in content['images'] if belongs(e, 'id')],
                'annotations': [e for e in content['annotations'] if belongs(e, 'image_id')],
            },
        )
