# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a run does when numbers or data go wrong: variables of a config, or options of a tool."""

from __future__ import annotations

from mmengine.config import Config

from .errors import RecipeError

POLICIES = ('stop', 'skip')
NAMES = ('on_bad_numbers', 'on_bad_data')


def policy(cfg: Config, name: str) -> str:
    """The policy of a name in NAMES: 'stop', unless the config says 'skip'.

    Raises:
        RecipeError: it is neither.
    """
    value = cfg.get(name, POLICIES[0])
    if value not in POLICIES:
        raise RecipeError(f'{name}={value!r}: choose {" or ".join(map(repr, POLICIES))}')
    return value
