# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Read checkpoint files; their type is recognised by content, not by extension.

Every pickle is read with ``weights_only=True``: a checkpoint cannot run code. There is no fallback.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten

import torch

from .download import set_aside
from .errors import CheckpointError, CheckpointUnreadable
from .lookup import locate
from .safe_globals import torch_load

# The weights of Hugging Face repositories, in the order in which they are tried.
REPOSITORY_FILES = (
    *('model.safetensors', 'model.safetensors.index.json'),
    *('pytorch_model.bin', 'pytorch_model.bin.index.json'),
)
LONGEST_HEADER = 100_000_000  # bytes of a safetensors header: the library's own limit


def read_checkpoint(source: str | Path, map_location: object = 'cpu') -> object:
    """Read a checkpoint.

    Args:
        source: a path (.pth, .pt, .bin, .safetensors, the index of a sharded one, or the folder of
            a Hugging Face repository), an http(s) URL, or the short name of published weights.
        map_location: the device of the tensors, as in torch.load.

    Raises:
        CheckpointNotFound: no such file and no such short name.
        CheckpointUnreadable: empty, truncated, compressed, not a checkpoint, or not safe to read.
            A bad download is renamed to NAME.bad; the user's own files are not touched.
    """
    path = locate(source)
    try:
        return _read(path, map_location)
    except CheckpointError as error:
        if path == Path(source).expanduser():
            raise
        bad = set_aside(path)
        raise CheckpointUnreadable(
            f'{error}\nIt was downloaded for {source!r} and was renamed to {bad.name}; the next '
            'attempt downloads it again'
        ) from error


def _read(path: Path, map_location: object, *, may_be_index: bool = True) -> object:
    if path.is_dir():
        path = _file_of_repository(path)
    with path.open('rb') as file:
        head = file.read(512)
    start = head.lstrip().lower()
    if not head:
        raise CheckpointUnreadable(f'{path} is empty (0 bytes)')
    if start.startswith((b'<!doctype', b'<html', b'<?xml', b'<head')):
        raise CheckpointUnreadable(
            f'{path} is a web page, not weights: the server answered with {start[:40]!r}; open the '
            'link in a browser to see why (a login, a moved file)'
        )
    if head.startswith(b'version https://git-lfs'):
        raise CheckpointUnreadable(
            f'{path} is a Git LFS pointer, not the weights; run `git lfs pull` in its repository'
        )
    # Checked before JSON, because the bytes of a header's length may be a space and a brace.
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= LONGEST_HEADER:
        return _read_safetensors(path, map_location)
    if start.startswith(b'{') and may_be_index:
        return _read_shards(path, map_location)
    if head.startswith(b'PK\x03\x04'):
        _refuse_compressed(path)
    if head.startswith((b'PK\x03\x04', b'\x80')):
        return _read_torch(path, map_location)
    raise CheckpointUnreadable(
        f'{path} is not a checkpoint: it begins with {head[:16]!r}. Files written by torch.save '
        'and safetensors are supported'
    )


def _file_of_repository(folder: Path) -> Path:
    for name in REPOSITORY_FILES:
        if (folder / name).is_file():
            return folder / name
    names = ', '.join(REPOSITORY_FILES)
    raise CheckpointUnreadable(f'the folder {folder} contains none of {names}')


def _read_shards(index: Path, map_location: object) -> dict:
    """{'weight_map': {name of a tensor: name of a file beside the index}}."""
    try:
        names = json.loads(index.read_text(encoding='utf-8'))['weight_map']
        files = sorted({str(file) for file in names.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointUnreadable(
            f"{index} is JSON, but not the index of a sharded checkpoint (no 'weight_map')"
        ) from error
    missing = [f for f in files if Path(f).name != f or not (index.parent / f).is_file()]
    if missing:
        raise CheckpointUnreadable(f'{index} lists {missing[0]!r}, which is not in its folder')
    tensors: dict = {}
    for file in files:
        shard = _read(index.parent / file, map_location, may_be_index=False)
        tensors.update(shard if isinstance(shard, dict) else {})
    lost = sorted(set(names) - set(tensors))
    if lost:
        raise CheckpointUnreadable(
            f'{index} lists {lost[0]}, but {names[lost[0]]} does not contain it'
        )
    return tensors


def _read_safetensors(path: Path, map_location: object) -> dict:
    import safetensors
    from safetensors.torch import load_file

    device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
    try:
        return load_file(path, device=str(device))
    except safetensors.SafetensorError as error:
        raise CheckpointUnreadable(
            f'{path} is a damaged or truncated safetensors file: {error}'
        ) from error


def _refuse_compressed(path: Path) -> None:
    """torch.save compresses nothing; what is much larger unpacked was made to fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # damaged: torch says how
        return
    if unpacked > path.stat().st_size:
        raise CheckpointUnreadable(
            f'{path} was not read: it has {path.stat().st_size:,} bytes, but {unpacked:,} '
            'unpacked. torch.save does not compress; load and save it anew where you trust it'
        )


def _read_torch(path: Path, map_location: object) -> object:
    try:
        with path.open('rb') as file:  # given a path, torch.load would go by the extension
            return torch_load(file, map_location)
    except UnpicklingError as error:
        text = ' '.join(str(error).split())
        if 'truncated' in text or 'Ran out of input' in text:
            raise CheckpointUnreadable(f'{path} is truncated: {text}') from error
        raise CheckpointUnreadable(
            f'{path} is not safe to read and was not read: {_culprit(text)}. Ask its author for a '
            'file of tensors only (a state_dict, or safetensors); if you trust the file, '
            'allow-list its types with torch.serialization.add_safe_globals (torch 2.4 or later)'
        ) from error
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged file can fail anywhere in torch.load
        text = shorten(str(error), 120, placeholder=' ...') or type(error).__name__
        if 'map_location' in str(error):  # the file is fine, but this machine has no such device
            raise
        if 'TorchScript' in text:
            raise CheckpointUnreadable(
                f'{path} is a TorchScript program, not a checkpoint; save its state_dict() instead'
            ) from error
        raise CheckpointUnreadable(
            f'{path} is damaged or truncated ({path.stat().st_size} bytes): {text}'
        ) from error


def _culprit(text: str) -> str:
    """What the file tried to import or call, from torch's message; else the end of the message."""
    match = (
        re.search(r'GLOBAL:? `?([\w.]+)', text)
        or re.search(r"but got <class '([\w.]+)'>", text)
        or re.search(r'((?:getattr|numpy\.dtype)\(.*?\))', text)
    )
    if match:
        return f'it holds {match[1]}, which could run code'
    text = text.rpartition('WeightsUnpickler error: ')[2].partition(' Check the doc')[0]
    return f'torch says {text[:200]!r}'
