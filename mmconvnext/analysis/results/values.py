# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Figures as JSON has them."""

from __future__ import annotations

import math

import numpy as np

DIGITS = 6  # our choice


def as_json(value: object) -> object:
    """Plain numbers, lists and dicts; fractions are rounded, and nan is None, as JSON needs it."""
    if isinstance(value, dict):
        return {str(key): as_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [as_json(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
