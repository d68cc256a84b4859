# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Numbers and ids as people's tools write them."""

from __future__ import annotations

import math

# Ids beyond this are not exact as floats, in which pycocotools keeps them.
LARGEST_ID = 2**53


def number(value: object) -> int | float | None:
    """A finite number, also from a string that holds one; None for anything else, and for bools."""
    if isinstance(value, str):
        try:
            value = int(value) if value.strip().lstrip('+-').isdecimal() else float(value)
        except ValueError:
            return None
    if type(value) is not int and type(value) is not float:
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an int beyond all floats
        return None


def key(value: object) -> int | str | None:
    """What an id refers to: 7, 7.0, '7' and ' 7 ' are the same; None if it is no id.

    Other strings are ids too, such as the names of images.
    """
    if type(value) is int:
        return value
    found = number(value)
    if found is not None and found == int(found):
        return int(found)
    if isinstance(value, str) and value.strip():
        return value.strip()
    return None
