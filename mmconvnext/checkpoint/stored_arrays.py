# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""numpy's arrays, scalars and dtypes in a checkpoint, checked before they are built.

numpy trusts a pickle: an array at an address given in the file, or a dtype whose state claims more
bytes than there are, accesses memory out of bounds. So files are read with these stand-ins.

torch's list of safe names is shared by the whole process. If the user adds numpy's own functions,
some names resolve to those and some to ours, so the stand-ins must work together with them.
"""

from __future__ import annotations

import math
from pickle import UnpicklingError

import numpy as np
import torch

ORDERS = ('<', '>', '=', '|')


class StoredDtype:
    """Stand in for ``numpy.dtype``: numbers, strings and times, in either byte order.

    Raises:
        UnpicklingError: a dtype with objects, fields or subarrays: its state could hold pointers.
    """

    def __new__(
        cls, kind: object, align: bool = False, copy: bool = True
    ) -> StoredDtype | np.dtype:
        if listed(np.dtype):
            return np.dtype(kind, align, copy)
        return super().__new__(cls)

    def __init__(self, kind: object, align: bool = False, copy: bool = True) -> None:
        found = np.dtype(kind) if isinstance(kind, str) else None
        if found is None or found.kind in 'OV' or found.subdtype or found.fields:
            raise _refused(f'numpy.dtype({kind!r})')
        self.dtype = found

    def __setstate__(self, state: tuple) -> None:
        _, order, *parts, size, _, _ = state[:8]
        if any(parts) or order not in ORDERS or size not in (-1, self.dtype.itemsize):
            raise _refused(f'the state {state!r} of a numpy.dtype')
        found = self.dtype
        if found.kind in 'mM' and len(state) > 8:
            unit, count, *_ = state[8][-1]
            found = np.dtype(f'{found.kind}8[{int(count)}{unit.decode()}]')
        self.dtype = found.newbyteorder(order)


class StoredArray(np.ndarray):
    """Stand in for ``numpy.ndarray``, which a file passes to _reconstruct and must not call.

    It accepts only checked content, and is pickled as a plain array.
    """

    def __new__(cls, *arguments: object) -> StoredArray:
        raise _refused('a call to numpy.ndarray')

    def __setstate__(self, state: tuple) -> None:
        version, shape, kind, by_columns, content = state
        dtype = _plain(kind)
        sizes = [type(size) is int and size >= 0 for size in shape]
        if not isinstance(content, bytes) or not isinstance(shape, tuple) or not all(sizes):
            raise _refused('the state of a numpy.ndarray')
        if math.prod(shape) * dtype.itemsize != len(content):
            raise _refused(f'a numpy.ndarray of shape {shape} and {dtype} in {len(content)} bytes')
        super().__setstate__((1, shape, dtype, bool(by_columns), content))

    def __reduce__(self) -> tuple:
        return self.view(np.ndarray).__reduce__()

    def __reduce_ex__(self, protocol: int) -> tuple:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def stored_reconstruct(kind: object, shape: object, code: object) -> StoredArray:
    """Stand in for numpy's ``_reconstruct``: an empty array, whose state is set afterwards."""
    if (kind is not StoredArray and kind is not np.ndarray) or shape != (0,):
        raise _refused(f'numpy _reconstruct({kind!r}, {shape!r}, ...)')
    return np.ndarray.__new__(StoredArray, (0,), 'i1')


def stored_scalar(kind: object, content: object = b'') -> np.generic:
    """Stand in for numpy's ``scalar``."""
    dtype = _plain(kind)
    if not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise _refused(f'a scalar of {dtype}')
    return np.frombuffer(content, dtype, 1)[0] if content else dtype.type()


def listed(value: object) -> bool:
    """Whether the user put this very object on torch's list of safe globals."""
    given = getattr(torch.serialization, 'get_safe_globals', list)()
    return any(value is (entry[0] if isinstance(entry, tuple) else entry) for entry in given)


def _plain(kind: object) -> np.dtype:
    """The dtype of a stand-in, or numpy's own if the user allowed it."""
    dtype = kind.dtype if isinstance(kind, StoredDtype) else kind
    if not isinstance(dtype, np.dtype) or dtype.kind in 'OV' or dtype.subdtype or dtype.fields:
        raise _refused(f'{kind!r} as a dtype')
    return dtype


def _refused(what: str) -> UnpicklingError:
    return UnpicklingError(f'{what} in a checkpoint is not safe: refused')
