# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""How strictly weights must fit a backbone, for every ``load_state_dict`` within a context."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Strictness(enum.Enum):
    """What happens to weights that do not fit a backbone exactly."""

    LENIENT = enum.auto()  # load what fits, warn about the rest
    STRICT = enum.auto()  # an error; only output norms may be missing, and a stem may be inflated
    WHOLE = enum.auto()  # an error; no tensor may be missing, no stem may be inflated


_strictness: ContextVar[Strictness] = ContextVar('strictness', default=Strictness.STRICT)


def current_strictness() -> Strictness:
    """The strictness of the surrounding context; STRICT outside of any."""
    return _strictness.get()


@contextmanager
def lenient_loading() -> Iterator[None]:
    """Within this context, weights that do not fit a backbone cause a warning, not an error.

    ``load_state_dict(strict=False)`` of a whole model has no such effect: torch does not pass it on
    to the backbone, and mmengine's ``load_checkpoint`` sets it by default.
    """
    with _loading(Strictness.LENIENT):
        yield


@contextmanager
def whole_loading() -> Iterator[None]:
    """Within this context, a state dict must fill the whole backbone, without changing the stem.

    Used to test a trained model or to resume its training. Success is not logged.
    """
    with _loading(Strictness.WHOLE):
        yield


@contextmanager
def _loading(strictness: Strictness) -> Iterator[None]:
    token = _strictness.set(strictness)
    try:
        yield
    finally:
        _strictness.reset(token)
