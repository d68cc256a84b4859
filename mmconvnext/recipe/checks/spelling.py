# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Names in messages, and those that a person takes for the same: of other case, spaces, form."""

from __future__ import annotations

import re
import unicodedata


def folded(name: object) -> str:
    """What near matches have in common: ' Traffic_Light' and 'traffic light' give the same."""
    text = unicodedata.normalize('NFKC', str(name)).casefold()
    return re.sub(r'[\s_\-\u200b\ufeff]+', '', text)


def shown(left: object, right: object) -> tuple[str, str]:
    """Both in quotes; where the eye sees no difference, with the codes of the characters."""
    same = unicodedata.normalize('NFKC', str(left)) == unicodedata.normalize('NFKC', str(right))
    return (ascii(left), ascii(right)) if same else (repr(left), repr(right))


def short(names: list, most: int = 5) -> str:
    """The first of a list, for a message."""
    return str(list(names[:most]))[:-1] + (', ...]' if len(names) > most else ']')
