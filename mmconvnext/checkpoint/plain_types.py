# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The values that a checkpoint may hold beside its tensors: mere data, or a stand-in for it.

mmengine writes a message hub (histories of scalars, in numpy arrays), schedulers and the dataset's
``metainfo``: numpy arrays of any plain kind in mmpose, parts of a config in any project. None of it
can run code when it is built; whatever could is replaced by something that cannot, or left out. A
stand-in is the thing itself where the user allow-lists that, see :mod:`.stored_arrays`.
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

# The methods that a HistoryBuffer keeps in its state, pickled as getattr(HistoryBuffer, name).
STATISTICS = ('current', 'max', 'mean', 'min')
# The class whose schedulers keep a function in their state, in the same way; its name stands for it
# because the class itself has no business in a file.
ONE_CYCLE = 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'
ANNEALING = ('_annealing_cos', '_annealing_linear')
VALUES = (
    *(bool, int, float, complex, str, bytes, bytearray),
    *(tuple, list, dict, set, frozenset, range, slice),
)
TIMES = ('datetime', 'date', 'time', 'timedelta', 'timezone')


@cache
def named() -> dict[str, object]:
    """What a file may name, and what it gets."""
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
        # Of numpy 1 and of 2, whichever wrote the file and whichever reads it.
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
    """The types of what a file may fill, though it cannot name them: they come from a stand-in."""
    return [Config, StoredArray]


def stored_function(owner: object, name: str) -> object:
    """Stand in for ``getattr``, for the functions that mmengine stores and no others.

    Raises:
        UnpicklingError: any other attribute; a free ``getattr`` would let a file call anything.
    """
    if listed(getattr):  # the user did that, and torch may as well have taken his
        return getattr(owner, name)
    if owner is HistoryBuffer and name in STATISTICS:
        return getattr(HistoryBuffer, name)
    if owner == ONE_CYCLE and name in ANNEALING:
        from mmengine.optim import OneCycleParamScheduler  # here: it takes a second

        return getattr(OneCycleParamScheduler, name)
    raise UnpicklingError(f'getattr({owner!r}, {name!r}) in a checkpoint is not safe: refused')


def stored_defaultdict(*factory: object) -> dict:
    """Stand in for a defaultdict: weights_only fills no other dict than a plain one."""
    return defaultdict(*factory) if listed(defaultdict) else {}


def stored_deque(*options: object) -> list | deque:
    """Stand in for a deque: weights_only fills no other sequence than a list."""
    return deque(*options) if listed(deque) else []


class _Called(type):
    def __call__(cls, *content: dict) -> ConfigDict:
        return ConfigDict(*content)


class StoredConfigDict(metaclass=_Called):
    """Stand in for ConfigDict, which mmengine 0.8 and later call with a dict.

    Those before create it and fill it; weights_only fills a plain dict or an OrderedDict.
    """

    def __new__(cls, *items: tuple) -> OrderedDict:
        return OrderedDict()


class StoredConfig:
    """Stand in for Config, which is created and filled; called, it would open a file."""

    def __new__(cls) -> Config:
        return Config.__new__(Config)
