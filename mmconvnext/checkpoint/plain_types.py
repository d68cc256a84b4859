# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The types that a checkpoint may hold besides tensors: plain data, or a stand-in for it.

mmengine stores a message hub (histories of scalars, in numpy arrays), schedulers and the dataset's
``metainfo``: numpy arrays of any plain type in mmpose, parts of a config in any project. Building
these types cannot run code; a type that could is replaced by a stand-in that cannot, or left out.
If the user allow-lists the real type, it is used instead, see :mod:`.stored_arrays`.
"""

from __future__ import annotations

import codecs
import datetime
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from pickle import UnpicklingError

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging.history_buffer import HistoryBuffer

from .stored_arrays import StoredArray, StoredDtype, listed, stored_reconstruct, stored_scalar

# Methods in the state of a HistoryBuffer, pickled as getattr(HistoryBuffer, name).
STATISTICS = ('current', 'max', 'mean', 'min')
# This scheduler has a function in its state, pickled in the same way. A file gets the name instead
# of the class, because it must not be able to build the class.
ONE_CYCLE = 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'
ANNEALING = ('_annealing_cos', '_annealing_linear')
VALUES = (
    *(bool, int, float, complex, str, bytes, bytearray),
    *(tuple, list, dict, set, frozenset, range, slice),
)
TIMES = ('datetime', 'date', 'time', 'timedelta', 'timezone')


@cache
def named() -> dict[str, object]:
    """The names that a file may use, and the object that each of them resolves to."""
    makers = dict(_reconstruct=stored_reconstruct, scalar=stored_scalar)
    here = type(Path())
    posix, windows = (
        here if issubclass(here, pure) else pure for pure in (PurePosixPath, PureWindowsPath)
    )
    paths = {'PosixPath': posix, 'PurePosixPath': PurePosixPath}
    paths |= {'WindowsPath': windows, 'PureWindowsPath': PureWindowsPath}
    return {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'mmengine.config.config.ConfigDict': StoredConfigDict,
        'mmcv.utils.config.ConfigDict': StoredConfigDict,  # of mmcv 1
        'addict.addict.Dict': StoredConfigDict,
        'mmengine.config.config.Config': StoredConfig,
        ONE_CYCLE: ONE_CYCLE,
        'builtins.getattr': stored_function,
        'argparse.Namespace': Namespace,  # a record: Meta's training code stores its arguments
        'collections.OrderedDict': OrderedDict,
        'collections.Counter': Counter,
        'collections.defaultdict': stored_defaultdict,
        'collections.deque': stored_deque,
        'numpy.ndarray': StoredArray,
        'numpy.dtype': StoredDtype,
        # The names of numpy 1 and 2, whichever wrote the file or reads it.
        **{f'numpy.{c}.multiarray.{n}': makers[n] for c in ('core', '_core') for n in makers},
        **{f'builtins.{kind.__name__}': kind for kind in VALUES},
        **{f'datetime.{name}': getattr(datetime, name) for name in TIMES},
        **{f'pathlib.{name}': kind for name, kind in paths.items()},
        **{f'pathlib._local.{name}': kind for name, kind in paths.items()},  # Python 3.13
        'torch.device': torch.device,
        '_codecs.encode': codecs.encode,  # how protocol 2 writes bytes
    }


@cache
def unnamed() -> list[type]:
    """Types whose state a file may set but which it may not name; stand-ins create them."""
    return [Config, StoredArray]


def stored_function(owner: object, name: str) -> object:
    """Stand in for ``getattr``, limited to the functions that mmengine stores.

    Raises:
        UnpicklingError: any other attribute; the real ``getattr`` would let a file call anything.
    """
    if listed(getattr):  # by the user: of two entries with one name, torch may pick either
        return getattr(owner, name)
    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    if owner == ONE_CYCLE and name in ANNEALING:
        from mmengine.optim import OneCycleParamScheduler  # imported late: takes a second

        return getattr(OneCycleParamScheduler, name)
    raise UnpicklingError(f'getattr({owner!r}, {name!r}) in a checkpoint is not safe: refused')


def stored_defaultdict(*factory: object) -> dict:
    """Stand in for a defaultdict: weights_only can fill only plain dicts."""
    return defaultdict(*factory) if listed(defaultdict) else {}


def stored_deque(*options: object) -> list | deque:
    """Stand in for a deque: the only sequence that weights_only can fill is a list."""
    return deque(*options) if listed(deque) else []


class _Called(type):
    def __call__(cls, *content: dict) -> ConfigDict:
        return ConfigDict(*content)


class StoredConfigDict(metaclass=_Called):
    """Stand in for ConfigDict, which pickles of mmengine 0.8 and later call with a dict.

    Older ones create it and fill it; weights_only can fill a plain dict or an OrderedDict.
    """

    def __new__(cls, *items: tuple) -> OrderedDict:
        return OrderedDict()


class StoredConfig:
    """Stand in for Config, which a pickle creates and fills; calling Config would open a file."""

    def __new__(cls) -> Config:
        return Config.__new__(Config)
