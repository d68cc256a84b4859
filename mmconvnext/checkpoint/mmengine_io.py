# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The only place that replaces parts of mmengine: how a process reads and writes checkpoints.

Only :func:`install` does that, and only ``tools/train.py`` and ``tools/test.py`` call it; importing
this module replaces nothing. Afterwards ``load_from``, resume, ``mmengine.runner.load_checkpoint``
and the ``init_cfg`` of other modules, which all read through ``CheckpointLoader``, accept
safetensors and short names, report damaged files, and unpickle only safe types. Checkpoints, which
mmengine writes through the storage backend 'local', are written atomically. Loaders and backend are
registered with mmengine's own functions; none of its functions, classes or modules is changed.
docs/checkpoints.md lists all replacements.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from types import FunctionType, ModuleType

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.backends.registry_utils import backends
from mmengine.runner.checkpoint import CheckpointLoader

from .atomic import atomic_path
from .checkpoint_key import unwrap
from .errors import CheckpointUnreadable
from .formats import detect
from .read import read_checkpoint
from .safe_globals import torch_load

# Not mmengine's logger, which prints every level until the Runner has set its own.
LOGGER = logging.getLogger('mmconvnext')


class AtomicLocalBackend(LocalBackend):
    """mmengine's backend for local files; an interrupted write leaves no partial file."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to a file beside ``filepath``, then rename it; parent folders are made."""
        with atomic_path(filepath) as path:
            path.write_bytes(obj)


def load_from_local(filename: str, map_location: object = None) -> object:
    """Read a path or the short name of published weights, in the form that mmengine expects.

    mmengine's own checkpoints, and files without a ConvNeXt, are returned unchanged. A ConvNeXt
    under another checkpoint key, or under none, is also put under 'state_dict', where mmengine
    looks for it, and 'meta' is added, which mmseg's ``init_model`` reads.

    Raises:
        CheckpointError: see :func:`.read.read_checkpoint`.
    """
    content = read_checkpoint(filename, map_location)
    try:
        found = unwrap(content)
    except CheckpointUnreadable:  # no weights
        return content
    # mmengine has no option to choose between a teacher and its student.
    if found.path.startswith(('teacher', 'student')) or not detect(found.tensors):
        return content
    if found.path == '':
        return {'meta': {}, 'state_dict': found.tensors}
    if found.path == 'state_dict':
        return {'meta': {}, **content}
    return {'meta': {}, **content, 'state_dict': found.tensors}


def load_from_http(filename: str, map_location: object = None, **_: object) -> object:
    """The same for a URL. mmengine's other arguments (folder, progress bar) have no effect."""
    return load_from_local(filename, map_location)


def load_by_scheme(source: str, map_location: object = None) -> object:
    """Read a URL whose scheme mmengine knows, such as s3:// or torchvision://, as safely as a path.

    mmengine is not changed, not even temporarily for other threads. A loader that another package
    registered is called unchanged, and decides itself what to unpickle.
    """
    loader = type('SafeLoader', (CheckpointLoader,), {'_schemes': _safe_schemes()})
    return loader.load_checkpoint(source, map_location)


def install() -> str:
    """Replace mmengine's loaders and local backend by those above, for the rest of this process.

    Returns:
        A line that lists what was replaced, also logged at level DEBUG by the logger 'mmconvnext'.
        Empty if nothing was left to replace.
    """
    loaders = {
        prefix: loader
        for prefix, loader in _safe_schemes().items()
        if loader is not CheckpointLoader._schemes[prefix]
    }
    for prefix, loader in loaders.items():
        CheckpointLoader.register_scheme(prefix, loader, force=True)
    schemes = ', '.join(map(_scheme, loaders))
    replaced = [f"CheckpointLoader's loaders for {schemes}"] * bool(loaders)
    if backends['local'] is not AtomicLocalBackend:
        register_backend('local', AtomicLocalBackend, force=True, prefixes='')
        replaced.append("the storage backend 'local'")
    if not replaced:
        return ''
    line = f'mmconvnext replaced in mmengine, in this process only: {"; ".join(replaced)}'
    LOGGER.debug(line)
    return line


def _scheme(prefix: str) -> str:
    return prefix or 'paths'


def _safe_schemes() -> dict[str, Callable]:
    return {prefix: _safe(loader) for prefix, loader in CheckpointLoader._schemes.items()}


def _safe(loader: Callable) -> Callable:
    """Our counterpart of one of mmengine's loaders; loaders of others are returned unchanged.

    For paths and URLs it is a function of this module. mmengine's other loaders are copied, and the
    copy looks up some globals here instead of in mmengine's module: the loaders for paths and URLs;
    torch.load, which is unsafe by default before torch 2.6; and onedl's ``_safe_torch_load``, which
    reads a refused file again with weights_only=False.
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
    """torch, except for ``load``."""

    load = staticmethod(torch_load)

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


_TORCH = _Torch('torch')
