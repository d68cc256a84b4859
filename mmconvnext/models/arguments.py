# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks the backbone's arguments and resolves defaults and negative indices.

Every function raises a ValueError that names the argument, its value and the allowed values.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral


def image_channels(value: int) -> int:
    """``in_channels``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f'in_channels must be a positive integer, got {value!r}')
    return value


def stage_indices(indices: int | Sequence[int] | None, num_stages: int) -> tuple[int, ...]:
    """``out_indices`` as non-negative stage indices; None means all stages."""
    if indices is None:
        return tuple(range(num_stages))
    given = (indices,) if isinstance(indices, Integral) else tuple(indices)
    for i in given:
        if isinstance(i, bool) or not isinstance(i, Integral) or not -num_stages <= i < num_stages:
            raise ValueError(
                f'out_indices={indices!r}: {i!r} is not a stage; this arch has {num_stages}, '
                f'0 to {num_stages - 1}, or -{num_stages} to -1 from the end'
            )
    resolved = tuple(int(i) % num_stages for i in given)
    if not resolved or len(set(resolved)) < len(resolved):
        raise ValueError(f'out_indices={indices!r} must name at least one stage, each once')
    return resolved


def frozen_stages_in(value: int, num_stages: int) -> int:
    """``frozen_stages``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not -1 <= value <= num_stages:
        raise ValueError(
            f'frozen_stages={value!r} is out of range: -1 freezes nothing, 0 the stem, and 1 to '
            f'{num_stages} the stem and that many stages'
        )
    return int(value)


def rate_in(value: float) -> float:
    """The rate of stochastic depth."""
    if not 0 <= value < 1:
        raise ValueError(f'drop_path_rate must be in [0, 1), got {value!r}')
    return value


def layer_scale_start(value: float | None, version: str) -> float:
    """``layer_scale_init_value``; None means the version's default."""
    if value is None:
        return 1e-6 if version == 'v1' else 0.0
    if not value >= 0:
        raise ValueError(f'layer_scale_init_value must be 0 (none) or positive, got {value!r}')
    return float(value)
