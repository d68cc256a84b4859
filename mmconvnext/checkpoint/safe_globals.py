# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What checkpoints may hold besides tensors, and the one call of torch.load in this package.

torch 2.6 and later unpickle nothing but tensors and what is allow-listed. :mod:`.plain_types` is
our list: what the projects of OpenMMLab write beside their weights. What the user allow-lists with
``torch.serialization.add_safe_globals`` counts too, and comes first.
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

# The first torch whose list takes an object with the name that it has in files; 2.4 and 2.5 have a
# list of bare objects, those before have none.
LISTS_NAMES = (2, 6)
# OpenMMLab's last mmengine, which lists nothing and so cannot read its own checkpoints. onedl's
# lists numpy's own functions for each read; beside them our stand-ins would come to be mixed.
LISTS_NOTHING = '0.10.7'
_reading = RLock()


def allow_for_mmengine() -> None:
    """Allow-list what mmengine's checkpoints hold, unless mmengine itself does."""
    if digit_version(mmengine.__version__) <= digit_version(LISTS_NOTHING):
        allow_own_checkpoints()


def allow_own_checkpoints() -> None:
    """Allow-list what such checkpoints hold; calling it again changes nothing.

    A name that the user allow-listed himself stays his: torch takes either of two of one name.
    """
    if torch.__version__ >= LISTS_NAMES:
        torch.serialization.add_safe_globals(_lacking())


def torch_load(path: object, map_location: object = None) -> object:
    """Call ``torch.load`` so that the file can build tensors and what is allow-listed, no more."""
    if torch.__version__ >= LISTS_NAMES:
        with _reading, torch.serialization.safe_globals(_lacking()):
            return torch.load(path, map_location=map_location, weights_only=True)
    # The list of weights_only is closed, or cannot hold our stand-ins.
    _refuse_torchscript(path)
    return torch.load(path, map_location=map_location, pickle_module=_PICKLE, weights_only=False)


def _lacking() -> list[tuple[object, str]]:
    """What torch's list lacks of ours; takes out of it what the user has listed himself since."""
    ours = [(value, name) for name, value in named().items()]
    # BUILD asks for the type of what it fills. No pickle can spell a name with a line break, so
    # these types are not to be called.
    ours += [(kind, f'mmconvnext\n{kind.__name__}') for kind in unnamed()]
    given = torch.serialization.get_safe_globals()
    theirs = _names(entry for entry in given if entry not in ours)
    with torch.serialization.safe_globals([e for e in given if e in ours and e[1] in theirs]):
        pass  # on leaving, torch takes them out
    return [entry for entry in ours if entry[1] not in theirs and entry not in given]


def _names(entries: object) -> dict[str, object]:
    """The entries of torch's list by the names that they have in files."""
    pairs = [
        entry if isinstance(entry, tuple) else (entry, f'{entry.__module__}.{entry.__qualname__}')
        for entry in entries
    ]
    return {name: value for value, name in pairs}


class _Unpickler(pickle._Unpickler):
    """Python's own Unpickler, which finds what torch's weights_only finds, and our types."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> object:
        # Protocol 2, which torch.save writes, spells names as Python 2 did.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        # The user's; those that only newer versions of torch know are among ours.
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
