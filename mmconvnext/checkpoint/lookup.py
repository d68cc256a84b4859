# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Find the file of a checkpoint from its path, URL or short name."""

from __future__ import annotations

import os
from pathlib import Path

from . import zoo
from .download import download, is_url
from .errors import CheckpointNotFound


def look_up(source: str | Path) -> Path | str:
    """Return where a checkpoint is, without downloading it: an existing path, or a URL.

    A URL is returned unchanged, whatever its scheme. A path takes precedence over a short name.

    Raises:
        CheckpointNotFound: no such file and no such short name; similar names are listed.
        ValueError: ``source`` is empty, or neither a string nor a path.
    """
    if not isinstance(source, (str, Path)) or not str(source):
        raise ValueError(f'a checkpoint is a path, a URL or a short name, got {source!r}')
    if is_url(str(source)) or needs_mmengine(source):
        return str(source)
    path = Path(os.path.expanduser(source))  # Path's fails for ~nobody
    if os.path.exists(path):  # Path's fails for a name that is too long
        return path
    row = zoo.find(str(source))
    if row:
        return row.url
    raise _not_found(source)


def locate(source: str | Path) -> Path:
    """The local file of a checkpoint; a URL or short name is downloaded, or found in the cache.

    Raises:
        CheckpointNotFound: no such file and no such short name, or a scheme other than http(s).
        CheckpointUnreachable, CheckpointUnreadable: see :func:`.download.download`.
    """
    if needs_mmengine(source):
        raise _not_found(source)
    found = look_up(source)
    return found if isinstance(found, Path) else download(found)


def needs_mmengine(source: object) -> bool:
    """Whether only mmengine can read it: s3://, torchvision:// and all schemes but http(s)."""
    return isinstance(source, str) and '://' in source and not is_url(source)


def _not_found(source: object) -> CheckpointNotFound:
    near = zoo.nearest(str(source))
    return CheckpointNotFound(
        f'{str(source)!r} is neither a file nor the name of published weights'
        + (f'; did you mean {", ".join(near)}?' if near else '')
        + ' (tools/list_weights.py lists the names)'
    )
