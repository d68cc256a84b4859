# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What checkpoints may hold besides tensors, and the one call of torch.load in this package.

torch 2.6 and later unpickle nothing but tensors and what is allow-listed. The checkpoints that
mmengine writes hold its message hub: histories of scalars in a ``HistoryBuffer`` of numpy arrays.
mmengine 0.10.7 does not list them, so its own runs can neither be resumed nor tested.
"""

from __future__ import annotations

import pickle
from argparse import Namespace
from pickle import UnpicklingError
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer

# The methods that a HistoryBuffer keeps in its state, pickled as getattr(HistoryBuffer, name).
STATISTICS = ('current', 'max', 'mean', 'min')


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
    add = getattr(torch.serialization, 'add_safe_globals', None)
    if add is None:  # before torch 2.4 there is no list to add to, see torch_load
        return
    types = _types()
    types.remove(history_method)
    add([*types, (history_method, 'builtins.getattr')])


def torch_load(path: object, map_location: object = None) -> object:
    """Call ``torch.load`` so that the file can build tensors and what is allow-listed, no more."""
    if hasattr(torch.serialization, 'add_safe_globals'):
        allow_own_checkpoints()  # each time: onedl's mmengine takes it back after its own loads
        return torch.load(path, map_location=map_location, weights_only=True)
    # Before torch 2.4 the list of weights_only is closed, and HistoryBuffer is not on it.
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


class _Unpickler(pickle.Unpickler):
    """A pickle.Unpickler that finds what torch's own weights_only finds, and our types."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ('builtins', 'getattr'):
            return history_method
        known = torch._weights_only_unpickler._get_allowed_globals()
        known = {**known, **{f'{t.__module__}.{t.__name__}': t for t in _types()}}
        # torch.serialization maps old storages to functions and classes by itself.
        if f'{module}.{name}' in known:
            return known[f'{module}.{name}']
        if module == 'torch' and name.endswith('Storage'):
            return super().find_class(module, name)
        raise UnpicklingError(f'Unsupported GLOBAL {module}.{name}')


_PICKLE = SimpleNamespace(
    __name__='mmconvnext',
    Unpickler=_Unpickler,
    load=lambda file, **kw: _Unpickler(file, **kw).load(),
)
