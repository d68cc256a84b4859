# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Class names in messages, and names that differ only in case, spaces or Unicode form."""

from __future__ import annotations

import re
import unicodedata


def folded(name: object) -> str:
    """A key for near matches: ' Traffic_Light' and 'traffic light' give the same."""
    text = unicodedata.normalize('NFKC', str(name)).casefold()
    return re.sub(r'[\s_\-\u200b\ufeff]+', '', text)


def shown(left: object, right: object) -> tuple[str, str]:
    """Both in quotes; if they look alike, with escapes for the characters that differ."""
    same = unicodedata.normalize('NFKC', str(left)) == unicodedata.normalize('NFKC', str(right))
    return (ascii(left), ascii(right)) if same else (repr(left), repr(right))


def short(names: list, most: int = 5) -> str:
    """The first entries of a list, for a message."""
    return str(list(names[:most]))[:-1] + (', ...]' if len(names) > most else ']')
