# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mmengine's own entry points, made to read and write as this package does.

That is for a process of ours: the tools call :func:`install`, an import never does. ``load_from``,
resume, ``mmengine.runner.load_checkpoint`` and the ``init_cfg`` of other modules read through
``CheckpointLoader``; its schemes for paths and http(s) become ours, so that they know safetensors,
short names and damaged files, and never unpickle more than is safe. Checkpoints are written through
the storage backend 'local'; ours writes a whole file or none.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.fileio import LocalBackend, register_backend
from torch import Tensor

from .atomic import atomic_path
from .envelope import unwrap
from .errors import CheckpointUnreadable
from .formats import detect
from .read import read_checkpoint
from .safe_globals import torch_load


class AtomicLocalBackend(LocalBackend):
    """mmengine's backend for local files, which leaves no half file when it is interrupted."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` beside ``filepath``, then rename; parent folders are made."""
        with atomic_path(filepath) as path:
            path.write_bytes(obj)


def load_from_local(filename: str, map_location: object = None) -> object:
    """Read a path or the short name of published weights as mmengine expects it.

    What holds no ConvNeXt, and what is a checkpoint of mmengine's, is returned as it is. A ConvNeXt
    under another key, or under none, comes under 'state_dict' too, where mmengine looks for it, and
    beside a 'meta', for which mmseg's ``init_model`` asks.

    Raises:
        CheckpointError: see :func:`.read.read_checkpoint`.
    """
    content = read_checkpoint(filename, map_location)
    try:
        found = unwrap(content)
    except CheckpointUnreadable:  # no weights
        return content
    # A teacher and its student: which of them is meant, mmengine cannot say.
    if found.path.startswith(('teacher', 'student')) or not detect(found.tensors):
        return content
    if found.path == '':
        return {'meta': {}, 'state_dict': found.tensors}
    if 'state_dict' in content:
        return {'meta': {}, **content}
    return {'meta': {}, **content, 'state_dict': found.tensors}


def load_from_http(filename: str, map_location: object = None, **_: object) -> object:
    """The same for a URL. mmengine's further arguments, folder and progress bar, have no effect."""
    return load_from_local(filename, map_location)


def load_by_scheme(source: str, map_location: object = None) -> object:
    """Read what mmengine has a scheme for, s3:// or torchvision:// say, as safely as a path.

    mmengine's loaders are ours for this one call, unless :func:`install` has made them so.
    """
    loader = mmengine_checkpoint.CheckpointLoader
    schemes = dict(loader._schemes)
    names = {name: getattr(mmengine_checkpoint, name) for name in _names()}
    try:
        _install_reading()
        return loader.load_checkpoint(source, map_location)
    finally:
        loader._schemes = schemes
        for name, value in names.items():
            setattr(mmengine_checkpoint, name, value)


def install() -> None:
    """Put the above in place of mmengine's own; calling it again changes nothing."""
    _install_reading()
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')


def _install_reading() -> None:
    loader = mmengine_checkpoint.CheckpointLoader
    loader.register_scheme('', load_from_local, force=True)
    loader.register_scheme(('http://', 'https://'), load_from_http, force=True)
    for name, value in _names().items():
        setattr(mmengine_checkpoint, name, value)


def _names() -> dict[str, object]:
    """What mmengine's loaders for torchvision://, openmmlab://, s3:// and others call by name.

    One for URLs, torch.load, which is unsafe by default before torch 2.6, and a function that only
    onedl has, and that reads a refused file again with weights_only=False.
    """
    names = {'load_from_http': load_from_http, 'torch': _TORCH}
    if hasattr(mmengine_checkpoint, '_safe_torch_load'):
        names['_safe_torch_load'] = _safe_torch_load
    return names


def _safe_torch_load(
    file: object, map_location: object = None, weights_only: bool | None = None
) -> Tensor | dict:
    """Onedl's function of that name without its second, unsafe attempt."""
    return torch_load(file, map_location)


class _Torch(ModuleType):
    """torch, but for ``load``."""

    load = staticmethod(torch_load)

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


_TORCH = _Torch('torch')
