# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Numbers and ids as people's tools write them."""

from __future__ import annotations

import math
import re

# Ids beyond this are not exact as floats, in which pycocotools keeps them.
LARGEST_ID = 2**53
NUMBER = re.compile(r'[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?', re.ASCII)
# Without exponents: '12e3' may be a name, such as a hash.
ID = re.compile(r'[+-]?\d+(\.0*)?', re.ASCII)


def number(value: object) -> int | float | None:
    """A finite number, also from a string that holds one; None for anything else, and for bools."""
    if isinstance(value, str):
        text = value.strip()
        if not NUMBER.fullmatch(text):  # float() takes 'nan' and '1_000' too
            return None
        try:
            value = int(text) if text.lstrip('+-').isdecimal() else float(text)
        except ValueError:  # more digits than Python converts
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
    if isinstance(value, str):
        text = value.strip()
        if not ID.fullmatch(text):
            return text or None
    found = number(value)
    return int(found) if found is not None and found == int(found) else None
