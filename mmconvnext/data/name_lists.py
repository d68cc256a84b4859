# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Lists of the images that a dataset reads, in the user's cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from .cache import cache_root, used, written


def written_list(folder: str, names: Iterable[str]) -> Path:
    """A file with a name in each line; the same names of a folder are in the same file.

    Raises:
        ValueError: it cannot be written, or a name is no UTF-8, in which mmseg reads lists.
    """
    lines = sorted(names)
    for name in lines:
        if not name.isprintable() and os.fsencode(name).decode('utf-8', 'replace') != name:
            raise ValueError(
                f'the name of {name!r} is no UTF-8, which lists of images cannot hold: rename such '
                'images and their labels, or give val a folder of its own'
            )
    key = '\n'.join([os.path.realpath(folder), *lines])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    file = cache_root() / 'splits' / f'{Path(folder).name}-{digest}.txt'
    if file.is_file():
        used(file)
        return file
    with written(file) as part:
        part.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    return file
