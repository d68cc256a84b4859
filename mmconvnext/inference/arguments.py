# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks what callers give: numbers, files, devices. Each error names the value and the way out."""

from __future__ import annotations

import os
import reprlib
from numbers import Integral, Real

import torch

from ..recipe.errors import RecipeError

LONGEST = 200  # characters of a value in a message; our choice
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = LONGEST


def cut(text: str) -> str:
    """A text without its middle if it is too long for a message."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f'{text[:half]}...{text[-half:]}'


def shown(value: object) -> str:
    """A value in a message."""
    return _REPR.repr(value)


def number(name: str, value: object, high: float, way: str) -> float:
    """A number from 0 to ``high``, of Python or numpy.

    Raises:
        RecipeError: it is none; ``way`` says what to choose.
    """
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= value <= high):
        raise RecipeError(f'{name}={shown(value)}: choose {way}')
    return float(value)


def whole(name: str, value: object, least: int, way: str) -> int:
    """A whole number of at least ``least``, of Python or numpy.

    Raises:
        RecipeError: it is none; ``way`` says what to choose.
    """
    if isinstance(value, bool) or not (isinstance(value, Integral) and value >= least):
        raise RecipeError(f'{name}={shown(value)}: choose {way}')
    return int(value)


def score_of(value: object) -> float:
    """A threshold of scores. Raises RecipeError."""
    return number('score', value, 1, 'a number from 0 to 1')


def path_of(name: str, value: object, kinds: str) -> str:
    """A path, URL or name as a string.

    Raises:
        RecipeError: it is none, or empty; ``kinds`` says what it may be.
    """
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str) and text:
            return text
    raise RecipeError(f'{name}={shown(value)}: give {kinds}')


def device_of(device: object) -> torch.device:
    """The device; of None the GPU if there is one.

    Raises:
        RecipeError: there is none of this name, or it holds no values.
    """
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    name = device if isinstance(device, (str, int)) else str(device)
    try:
        found = torch.device(device)
        if found.type == 'meta':
            raise ValueError('it holds no values')
        torch.zeros(1, device=found)
    except Exception as error:  # torch has many ways to say that there is none
        text = (str(error) or type(error).__name__).splitlines()[0]
        here = ['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))]
        raise RecipeError(
            f'device={shown(name)} cannot be used here: {text}; choose {" or ".join(here)}'
        ) from error
    return found
