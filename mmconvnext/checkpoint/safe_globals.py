# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The types that checkpoints may hold besides tensors, and this package's only call of torch.load.

torch 2.6 and later unpickle only tensors and allow-listed types. :mod:`.plain_types` is our list:
what OpenMMLab's projects store beside their weights. Types that the user allow-lists with
``torch.serialization.add_safe_globals`` count too and take precedence.
"""

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pickle import UnpicklingError
from threading import RLock
from types import FunctionType, SimpleNamespace

import mmengine
import torch
from mmengine.utils import digit_version

from .plain_types import named, unnamed

# The first torch whose list takes pairs of an object and its name in files; 2.4 and 2.5 have a list
# of bare objects, earlier versions have none.
LISTS_NAMES = (2, 6)
# OpenMMLab's last mmengine, which allow-lists nothing and so cannot read its own checkpoints.
# onedl's allow-lists numpy's own functions for each read; our stand-ins must not mix with them.
LISTS_NOTHING = '0.10.7'
_reading = RLock()


def allow_for_mmengine() -> None:
    """Allow-list what mmengine's checkpoints hold, unless mmengine itself does."""
    if digit_version(mmengine.__version__) <= digit_version(LISTS_NOTHING):
        allow_own_checkpoints()


def allow_own_checkpoints() -> None:
    """Allow-list what such checkpoints hold; calling it again changes nothing.

    Names that the user has allow-listed are not added: of two entries with one name, torch may
    pick either.
    """
    if torch.__version__ >= LISTS_NAMES:
        torch.serialization.add_safe_globals(_lacking())


def torch_load(path: object, map_location: object = None, mmap: bool = False) -> object:
    """Call ``torch.load`` so that a file can build only tensors and allow-listed types.

    Args:
        mmap: read tensors of a file that is given by its path only when they are used.
    """
    path, mmap = (str(path), True) if mmap else (path, None)
    if torch.__version__ >= LISTS_NAMES:
        with _reading, torch.serialization.safe_globals(_lacking()):
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    # torch's own list is fixed, or cannot hold our stand-ins.
    _refuse_torchscript(path)
    options = dict(map_location=map_location, mmap=mmap)
    return torch.load(path, pickle_module=_PICKLE, weights_only=False, **options)


def _lacking() -> list[tuple[object, str]]:
    """Our entries that torch's list lacks; removes those whose names the user has since listed."""
    ours = [(value, name) for name, value in named().items()]
    # The BUILD opcode checks the type of what it fills. No pickle can contain a name with a line
    # break, so these types can be filled but not called.
    ours += [(kind, f'mmconvnext\n{kind.__name__}') for kind in unnamed()]
    given = torch.serialization.get_safe_globals()
    theirs = _names(entry for entry in given if entry not in ours)
    with torch.serialization.safe_globals([e for e in given if e in ours and e[1] in theirs]):
        pass  # torch removes them on exit
    return [entry for entry in ours if entry[1] not in theirs and entry not in given]


def _names(entries: object) -> dict[str, object]:
    """The entries of torch's list by their names in files."""
    pairs = [
        entry if isinstance(entry, tuple) else (entry, f'{entry.__module__}.{entry.__qualname__}')
        for entry in entries
    ]
    return {name: value for value, name in pairs}


class _Unpickler(pickle._Unpickler):
    """Python's Unpickler, restricted to what torch's weights_only allows, and our types."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> object:
        # torch.save writes protocol 2, which uses the names of Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        # `given` is the user's list; types that only newer versions of torch allow are in ours.
        given = getattr(torch.serialization, 'get_safe_globals', list)()
        known = {**torch._weights_only_unpickler._get_allowed_globals(), **named(), **_names(given)}
        found = known.get(f'{module}.{name}')
        if found is None and module == 'torch':
            kind = getattr(torch, name, None)
            found = kind if isinstance(kind, torch.dtype) else None
        if found is None:
            raise UnpicklingError(f'Unsupported GLOBAL {module}.{name}')
        return found

    def load_build(self) -> None:
        if isinstance(self.stack[-2], (type, FunctionType)):  # could replace a class's methods
            raise UnpicklingError(f'it changes {self.stack[-2]!r}: refused')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


_PICKLE = SimpleNamespace(
    __name__='mmconvnext',
    Unpickler=_Unpickler,
    load=lambda file, **kw: _Unpickler(file, **kw).load(),
)


def _refuse_torchscript(path: object) -> None:
    """Without weights_only, torch.load would run the code in such a file to build its objects."""
    with torch.serialization._open_file_like(path, 'rb') as file:
        start = file.tell()
        if torch.serialization._is_zipfile(file):
            with torch.serialization._open_zipfile_reader(file) as archive:
                if torch.serialization._is_torchscript_zip(archive):
                    raise RuntimeError('TorchScript is not read')
        file.seek(start)
