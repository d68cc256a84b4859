# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mmengine's own entry points, made to read and write as this package does.

That is for a process of ours: the tools call :func:`install`, an import never does. ``load_from``,
resume, ``mmengine.runner.load_checkpoint`` and the ``init_cfg`` of other modules read through
``CheckpointLoader``; its schemes for paths and http(s) become ours, so that they know safetensors,
short names and damaged files, and no scheme unpickles more than is safe. Checkpoints are written
through the storage backend 'local'; ours writes a whole file or none. All of that is registered, as
anybody may; no function, class or module of mmengine's is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FunctionType, ModuleType

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.runner.checkpoint import CheckpointLoader

from .atomic import atomic_path
from .checkpoint_key import unwrap
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

    mmengine itself stays as it is meanwhile, for other threads too. A loader that somebody else
    registered is called as it is: what it unpickles is his choice.
    """
    loader = type('SafeLoader', (CheckpointLoader,), {'_schemes': _safe_schemes()})
    return loader.load_checkpoint(source, map_location)


def install() -> None:
    """Register the above in place of mmengine's own; calling it again changes nothing."""
    for prefix, loader in _safe_schemes().items():
        CheckpointLoader.register_scheme(prefix, loader, force=True)
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')


def _safe_schemes() -> dict[str, Callable]:
    return {prefix: _safe(loader) for prefix, loader in CheckpointLoader._schemes.items()}


def _safe(loader: Callable) -> Callable:
    """Ours for mmengine's loader of paths or URLs; its others, with ours behind what they call.

    They take the loader of URLs, torch.load, which is unsafe by default before torch 2.6, and
    onedl's ``_safe_torch_load``, which reads a refused file again with weights_only=False, from
    mmengine's module. A copy of the function takes all else from there, and these from here.
    """
    if getattr(loader, '__globals__', None) is not vars(mmengine_checkpoint):
        return loader
    ours = {'load_from_local': load_from_local, 'load_from_http': load_from_http}
    if loader.__name__ in ours:
        return ours[loader.__name__]
    ours.update(torch=_TORCH, _safe_torch_load=torch_load)

    @wraps(loader)
    def load(*args: object, **options: object) -> object:
        names = {**vars(mmengine_checkpoint), **ours}
        copied = (loader.__name__, loader.__defaults__, loader.__closure__)
        return FunctionType(loader.__code__, names, *copied)(*args, **options)

    return load


class _Torch(ModuleType):
    """torch, but for ``load``."""

    load = staticmethod(torch_load)

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


_TORCH = _Torch('torch')
