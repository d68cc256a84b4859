# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The default scope of mmengine's registries, for the time of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import RLock

from mmengine.registry import DefaultScope

# The scope belongs to the process: two threads with models of mmdet and mmseg would leave each
# other's behind. Nor can mmdet be imported by two threads at once.
LOCK = RLock()


@contextmanager
def in_scope(scope: str) -> Iterator[None]:
    """Make ``scope``, 'mmdet' or 'mmseg', the default; afterwards it is what it was before.

    One thread at a time; torch computes with all cores anyway.
    """
    with LOCK, DefaultScope.overwrite_default_scope(scope):
        yield


def one_at_a_time(function: Callable) -> Callable:
    """Let only one thread be in ``function`` or in a scope."""

    @wraps(function)
    def guarded(*args: object, **kwargs: object) -> object:
        with LOCK:
            return function(*args, **kwargs)

    return guarded
