# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""URLs to files: downloaded once, into the cache that torch.hub and mmengine share."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse

import torch
from mmengine.dist import broadcast_object_list, get_dist_info

from . import zoo
from .errors import CheckpointUnreachable, CheckpointUnreadable

# OpenMMLab's and torch.hub's custom: the name ends in the first digits of the file's SHA-256.
HASH = re.compile(r'-([0-9a-f]{8,64})\.\w+$')
# Whose names do so; elsewhere digits alone are a date or an iteration.
HASHING_HOSTS = ('download.openmmlab.com', 'download.pytorch.org')


def is_url(source: str) -> bool:
    return source.startswith(('http://', 'https://'))


def cached(url: str) -> Path:
    """Where a download lies or will lie: where mmengine has it, if its name is its alone.

    A name that any server may use, best.pth say, gets a digest of the URL in front: two files of
    one name must not stand in for each other.
    """
    parts = [part for part in urlparse(url).path.split('/') if part]
    name = parts[-1] if parts else urlparse(url).netloc
    if url in _published():
        if urlparse(url).netloc == 'huggingface.co':  # /ORGANISATION/REPOSITORY/..., model.bin
            name = '--'.join([*parts[:2], name])
    elif _hash(url) is None:
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}--{name}'
    return Path(torch.hub.get_dir()) / 'checkpoints' / name


@cache
def _published() -> frozenset[str]:
    return frozenset(row.url for row in zoo.published().values())


def download(url: str) -> Path:
    """Return the file of a URL, fetched on rank 0 if it is not in the cache.

    An interrupted download never gets the final name (torch.hub writes beside it and renames). Of a
    body that ends too early torch.hub says nothing, unless there is a hash; reading it does.

    Raises, on every rank:
        CheckpointUnreadable: the content is not what the hash in the name says; a bad file that was
            in the cache is renamed to NAME.bad.
        CheckpointUnreachable: the server cannot be reached or refuses; the message says where to
            put a file that was fetched by other means.
    """
    path = cached(url)
    fault: list = [None]
    if get_dist_info()[0] == 0:
        try:
            if path.is_file():
                _check_hash(path, url)
            else:
                _fetch(url, path)
        except (OSError, ValueError) as error:
            fault = [error]
    broadcast_object_list(fault)  # the other ranks would wait for one that is gone
    if fault[0] is not None:
        raise fault[0]
    if not path.is_file():  # on a node that does not share the disk of rank 0
        _fetch(url, path)
    return path


def set_aside(path: Path) -> Path:
    """Rename a bad file of the cache to NAME.bad, so that the next attempt fetches it anew."""
    bad = path.with_name(f'{path.name}.bad')
    if get_dist_info()[0] == 0 and path.is_file():
        path.replace(bad)
    return bad


def _fetch(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=_hash(url))
    except HTTPError as error:
        why = f'{error.code} {error.reason}'
        if error.code in (401, 403):
            why += ' (it may ask for a login)'
        raise CheckpointUnreachable(_unreachable(url, path, why)) from error
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        why = getattr(error, 'reason', error)
        raise CheckpointUnreachable(_unreachable(url, path, why)) from error
    except RuntimeError as error:  # torch.hub: invalid hash value
        raise CheckpointUnreadable(f'{url}: {error}; nothing was kept. Try again') from error


def _unreachable(url: str, path: Path, why: object) -> str:
    return (
        f'cannot download {url}: {why}. Fetch it on another machine and put it at {path}, or name '
        'its path instead'
    )


def _hash(url: str) -> str | None:
    match = HASH.search(urlparse(url).path)
    if match and match[1].isdecimal() and urlparse(url).netloc not in HASHING_HOSTS:
        return None
    return match and match[1]


def _check_hash(path: Path, url: str) -> None:
    expected = _hash(url)
    if expected is None:
        return
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    found = digest.hexdigest()
    if not found.startswith(expected):
        bad = set_aside(path)
        raise CheckpointUnreadable(
            f'{path}: its SHA-256 begins with {found[: len(expected)]}, the name says {expected}. '
            f'It is now called {bad.name}; the next attempt downloads it again'
        )
