# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What to do about data that cannot be used: the settings, and the error that names them."""

from __future__ import annotations

import math
from typing import NamedTuple

from mmengine.config import Config

from ..recipe.errors import RecipeError
from ..recipe.policies import POLICIES, policy

# Seconds to wait before each new attempt at a file system that is away: below two minutes in all,
# so that other processes, which wait for this one, do not give up (NCCL: 10 minutes); our choice.
WAITS = (1, 4, 10, 30, 60)


class BadDataError(RecipeError):
    """A sample cannot be used; the message names its file.

    A DataLoader raises an error of a worker anew, with the text of the worker's traceback, of which
    the message is kept.
    """

    def __init__(self, text: str) -> None:
        super().__init__(str(text).rpartition(f'{type(self).__name__}: ')[2].strip())


class DataSettings(NamedTuple):
    """What a config says about bad data.

    Attributes:
        policy: one of POLICIES.
        waits: seconds before each new attempt at a file system that is away.
    """

    policy: str = POLICIES[0]
    waits: tuple[float, ...] = WAITS


def data_settings(cfg: Config) -> DataSettings:
    """The variables ``on_bad_data`` and ``data_waits`` of a config.

    Raises:
        RecipeError: one of them has a value that is not allowed.
    """
    waits = cfg.get('data_waits', WAITS)
    if not isinstance(waits, (list, tuple)) or not all(map(_is_time, waits)):
        raise RecipeError(
            f'data_waits={waits!r}: give a list of seconds of 0 or more, one for each new attempt '
            f'to read from a file system that is away, such as {list(WAITS)}; [] waits for none'
        )
    return DataSettings(policy(cfg, 'on_bad_data'), tuple(waits))


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf
