# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What checkpoints may hold besides tensors, and the one call of torch.load in this package.

torch 2.6 and later unpickle nothing but tensors and what is allow-listed. The checkpoints that
mmengine writes hold its message hub: histories of scalars in a ``HistoryBuffer`` of numpy arrays.
mmengine 0.10.7 does not list them, so its own runs can neither be resumed nor tested.
"""

from __future__ import annotations

import codecs
import pickle
from argparse import Namespace
from pickle import UnpicklingError
from types import FunctionType, SimpleNamespace

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

# The methods that a HistoryBuffer keeps in its state, pickled as getattr(HistoryBuffer, name).
STATISTICS = ('current', 'max', 'mean', 'min')
# The first torch whose list takes an object with the name that it has in files; 2.4 and 2.5 have a
# list of bare objects, those before have none.
LISTS_NAMES = (2, 6)


def history_method(owner: object, name: str) -> object:
    """Stand in for ``getattr`` in a checkpoint, for the statistics of a HistoryBuffer alone.

    Raises:
        UnpicklingError: any other attribute; a free ``getattr`` would let a file call anything.
    """
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r}) in a checkpoint is not safe: refused')
    return getattr(owner, name)


def allow_own_checkpoints() -> None:
    """Allow-list what such checkpoints hold; calling it again changes nothing.

    Besides the message hub that is ``argparse.Namespace``, a mere record: Meta's training code
    stores its arguments in one.
    """
    if torch.__version__ < LISTS_NAMES:
        return
    types = _types()
    types.remove(history_method)
    torch.serialization.add_safe_globals([*types, (history_method, 'builtins.getattr')])


def torch_load(path: object, map_location: object = None) -> object:
    """Call ``torch.load`` so that the file can build tensors and what is allow-listed, no more."""
    if torch.__version__ >= LISTS_NAMES:
        allow_own_checkpoints()  # each time: onedl's mmengine takes it back after its own loads
        return torch.load(path, map_location=map_location, weights_only=True)
    # The list of weights_only is closed, or cannot hold our getattr.
    _refuse_torchscript(path)
    return torch.load(path, map_location=map_location, pickle_module=_PICKLE, weights_only=False)


def _types() -> list:
    # Asked of numpy itself, because their module moved between numpy 1 and 2.
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool')]
    return [
        HistoryBuffer,
        history_method,
        Namespace,
        reconstruct,
        scalar,
        np.ndarray,
        np.dtype,
        *kinds,
    ]


class _Unpickler(pickle._Unpickler):
    """Python's own Unpickler, which finds what torch's weights_only finds, and our types."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> object:
        module = 'builtins' if module == '__builtin__' else module  # protocol 2 writes Python 2
        if (module, name) == ('builtins', 'getattr'):
            return history_method
        known = torch._weights_only_unpickler._get_allowed_globals()
        # _codecs.encode: how protocol 2 writes the bytes of an array; torch lists it since 2.4.
        known = {**known, **{f'{t.__module__}.{t.__name__}': t for t in [*_types(), codecs.encode]}}
        if f'{module}.{name}' not in known:
            raise UnpicklingError(f'Unsupported GLOBAL {module}.{name}')
        return known[f'{module}.{name}']

    def load_build(self) -> None:
        if isinstance(self.stack[-2], (type, FunctionType)):  # it may set a class's methods
            raise UnpicklingError(f'it changes {self.stack[-2]!r}: refused')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


_PICKLE = SimpleNamespace(
    __name__='mmconvnext',
    Unpickler=_Unpickler,
    load=lambda file, **kw: _Unpickler(file, **kw).load(),
)


def _refuse_torchscript(path: object) -> None:
    """torch.load without weights_only would run such a file's own code to build its objects."""
    with torch.serialization._open_file_like(path, 'rb') as file:
        start = file.tell()
        if torch.serialization._is_zipfile(file):
            with torch.serialization._open_zipfile_reader(file) as archive:
                if torch.serialization._is_torchscript_zip(archive):
                    raise RuntimeError('TorchScript is not read')
        file.seek(start)
