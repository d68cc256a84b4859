# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Download URLs, once each, into the cache that torch.hub and mmengine share.

Over https only, redirects included: whoever can change what an http:// URL answers chooses the
weights.
"""

from __future__ import annotations

import hashlib
import os
import re
from http.client import HTTPException
from pathlib import Path
from types import FunctionType
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import HTTPRedirectHandler, Request, build_opener

import torch
from mmengine.dist import all_gather_object, get_dist_info

from . import zoo
from .errors import CheckpointUnreachable, CheckpointUnreadable

# OpenMMLab's and torch.hub's convention: the name ends in the first digits of the SHA-256.
HASH = re.compile(r'-([0-9a-f]{8,64})\.\w+$')
# Hosts that follow it; elsewhere such digits may be a date, an iteration or a commit.
HASHING_HOSTS = ('download.openmmlab.com', 'download.pytorch.org')
# Set to 1, it allows http:// URLs; those of this machine are always allowed.
ALLOW_HTTP = 'MMCONVNEXT_ALLOW_HTTP'
THIS_MACHINE = ('127.0.0.1', 'localhost', '::1')
# Set by torchrun, and by mmengine under slurm; by Open MPI, under which mmengine sets no other.
LOCAL_RANK = ('LOCAL_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK')


def is_url(source: str) -> bool:
    return source.startswith(('http://', 'https://'))


def cached(url: str) -> Path:
    """The path of a download in the cache; mmengine's own path if the file's name is unique.

    A name that is not unique, such as best.pth, gets a digest of the URL as its prefix, so that
    files from different servers are not mixed up.
    """
    parts = [part for part in urlparse(url).path.split('/') if part]
    name = parts[-1] if parts else urlparse(url).netloc
    if any(row.url == url for row in zoo.published().values()):
        if urlparse(url).netloc == 'huggingface.co':  # /ORGANISATION/REPOSITORY/..., model.bin
            name = '--'.join([*parts[:2], name])
    elif _hash(url) is None:
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}--{name}'
    return Path(torch.hub.get_dir()) / 'checkpoints' / name


def download(url: str) -> Path:
    """Return the cached file of a URL; if it is missing, one rank per node downloads it.

    Rank 0 goes first: on a shared disk no other rank needs to. An interrupted download never gets
    the final name, because torch.hub writes to a temporary file and renames it. torch.hub detects a
    truncated body only if there is a hash; otherwise, reading the file fails later.

    Raises, on all ranks, no matter which of them failed:
        CheckpointUnreadable: the content does not match the hash in the name; a bad file in the
            cache is renamed to NAME.bad.
        CheckpointUnreachable: the server cannot be reached or refuses, or the URL, or one that it
            redirects to, is not https; the message says where to put a file that you downloaded by
            other means.
    """
    path, rank = cached(url), get_dist_info()[0]
    _on(rank == 0, url, path)
    # The others check only now, because NFS caches the absence of a file for a while.
    _on(rank > 0 and leads_node(), url, path)
    # Without a local rank the nodes are unknown: ranks that lack the file download it in turn.
    lacking = [i for i, there in enumerate(all_gather_object(path.is_file())) if not there]
    for i in lacking:
        _on(rank == i and not path.is_file(), url, path)
    return path


def leads_node() -> bool:
    """Whether this rank downloads and renames files for its node."""
    local = next((os.environ[name] for name in LOCAL_RANK if name in os.environ), None)
    return get_dist_info()[0] == 0 or local == '0'


def set_aside(path: Path) -> Path:
    """Rename a bad file in the cache to NAME.bad, so that the next attempt downloads it again."""
    bad = path.with_name(f'{path.name}.bad')
    if leads_node() and path.is_file():
        path.replace(bad)
    return bad


def _on(chosen: bool, url: str, path: Path) -> None:
    """Provide the file on the chosen ranks. All ranks must call this; all raise the first error."""
    fault = None
    if chosen:
        try:
            _check_hash(path, url) if path.is_file() else _fetch(url, path)
        except Exception as error:  # any: otherwise the other ranks would wait forever
            fault = error
    faults = [fault for fault in all_gather_object(fault) if fault is not None]
    if faults:
        raise faults[0]


def _fetch(url: str, path: Path) -> None:
    if not _is_encrypted(url):
        raise CheckpointUnreachable(
            f'{url} was not downloaded: anybody on the way could change what http:// answers. '
            f'Write https://, or put the file at {path}; {ALLOW_HTTP}=1 in the environment allows '
            'http://'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _hub_download()(url, str(path), hash_prefix=_hash(url))
    except HTTPError as error:
        why = f'{error.code} {error.reason}'
        if error.code in (401, 403):
            why += ' (a login may be required)'
        raise CheckpointUnreachable(_unreachable(url, path, why)) from error
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        why = getattr(error, 'reason', error)
        raise CheckpointUnreachable(_unreachable(url, path, why)) from error
    except RuntimeError as error:  # torch.hub: invalid hash value
        raise CheckpointUnreadable(f'{url}: {error}; the file was discarded. Try again') from error


def _is_encrypted(url: str) -> bool:
    """Whether nobody on the way can change the answer, or the user allows it."""
    parts = urlparse(url)
    here = parts.scheme == 'http' and parts.hostname in THIS_MACHINE
    return parts.scheme == 'https' or here or os.environ.get(ALLOW_HTTP) == '1'


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, request: Request, *answer: object) -> Request | None:
        url = answer[-1]
        if not _is_encrypted(url):
            raise URLError(f'it redirects to {url}, which is not https ({ALLOW_HTTP}=1 allows it)')
        return super().redirect_request(request, *answer)


def _hub_download() -> FunctionType:
    """torch.hub's download, which would follow a redirect from https to http."""
    hubs = torch.hub.download_url_to_file
    names = {**hubs.__globals__, 'urlopen': build_opener(_Redirects).open}
    return FunctionType(hubs.__code__, names, hubs.__name__, hubs.__defaults__, hubs.__closure__)


def _unreachable(url: str, path: Path, why: object) -> str:
    return (
        f'cannot download {url}: {why}. Download it on another machine and put it at {path}, or '
        'give its path instead of the URL'
    )


def _hash(url: str) -> str | None:
    parts = urlparse(url)
    match = HASH.search(parts.path) if parts.netloc in HASHING_HOSTS else None
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
            f'{path}: its SHA-256 begins with {found[: len(expected)]}, its name says {expected}. '
            f'It was renamed to {bad.name}; the next attempt downloads it again'
        )
