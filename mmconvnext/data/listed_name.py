# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Calls annotation files in the cache by the names of the user's files they were made from."""

from __future__ import annotations

import os
import re

from .cache import cache_root

PARTS = dict(train='for training', val='for validation', chosen='with the chosen images')
# As coco/parts.py and coco/kept.py call their files.
MADE = (
    rf'/(?:splits|annotations)/(?P<stem>[^/\n]+?)(?:-[0-9a-f]{{16}}-(?P<part>{"|".join(PARTS)}))*'
    r'(?:-[0-9a-f]{16}-[0-9a-f]{8}\.sound)?\.json'
)


def with_listed_names(text: str) -> str:
    """The text with 'a.json (the part for training)' instead of such a file in the cache.

    Files that are not there keep their path, because the text may be about that.
    """

    def listed(match: re.Match) -> str:
        if not os.path.isfile(match[0]):
            return match[0]
        part = f' (the part {PARTS[match["part"]]})' if match['part'] else ''
        return f'{match["stem"]}.json{part}'

    return re.sub(re.escape(str(cache_root())) + MADE, listed, text)
