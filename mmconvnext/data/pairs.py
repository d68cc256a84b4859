# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Which label map belongs to which image, by their names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .listing import listed

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')  # in any case; our choice
PROBES = 3  # names that a pattern is first tried on; our choice


def stems_of(
    images: str | Path, image_suffix: str, maps: str | Path, map_suffix: str
) -> tuple[list[str], list[str]]:
    """Names without suffix: those of the images, and those that are label maps of others.

    mmseg takes the second for images too, if both are in one folder or in one below the other.
    """
    stems = [name[: len(name) - len(image_suffix)] for name in listed(images, image_suffix)]
    map_of = {os.path.normpath(os.path.join(maps, stem + map_suffix)): stem for stem in stems}

    def is_map(stem: str) -> bool:
        image = os.path.normpath(os.path.join(images, stem + image_suffix))
        return map_of.get(image, stem) != stem

    mistaken = list(filter(is_map, stems))
    return [stem for stem in stems if stem not in set(mistaken)], mistaken


class Pattern(NamedTuple):
    """How images and label maps are called around the part that both names share."""

    image_prefix: str
    image_ending: str  # without suffix
    map_prefix: str
    map_suffix: str
    count: int  # of the images that have a label map so called


def find_pattern(stems: Iterable[str], maps: Iterable[str]) -> Pattern | None:
    """The pattern that gives most images a label map; None if it gives less than half of them.

    Args:
        stems: names of images, without suffix.
        maps: names of files in the folder of label maps.
    """
    images, names = [_split(stem) for stem in stems], {_split(name) for name in maps}
    best = None
    for prefix, ending in _affixes([base for _, base in images]):
        keys = [(f, base[len(prefix) : len(base) - len(ending)]) for f, base in images]
        for before, after in _candidates([key for key in keys if key[1]], names):
            count = sum((f, f'{before}{key}{after}') in names for f, key in keys)
            if 2 * count > len(images) and count > (best.count if best else 0):
                best = Pattern(prefix, ending, before, after, count)
    return best and _shortest(best)


def _split(name: str) -> tuple[str, str]:
    folder, _, base = name.rpartition('/')
    return folder, base


def _affixes(bases: list[str]) -> Iterator[tuple[str, str]]:
    """Beginnings and ends that all names have, and none."""
    prefix = os.path.commonprefix(bases)
    ending = os.path.commonprefix([base[::-1] for base in bases])[::-1]
    shortest = min(map(len, bases), default=0)
    for pair in dict.fromkeys([('', ''), (prefix, ''), ('', ending), (prefix, ending)]):
        if len(''.join(pair)) < max(shortest, 1):
            yield pair


def _candidates(keys: list[tuple[str, str]], names: set[tuple[str, str]]) -> Iterator[tuple]:
    """What may stand before and after the keys: it fits most of a few of them."""
    probes = keys[:: max(1, len(keys) // PROBES)][:PROBES]
    found: Counter = Counter()
    for folder, key in probes:
        found.update(
            {
                (base[:at], base[at + len(key) :])
                for where, base in names
                if where == folder and (at := base.find(key)) >= 0
            }
        )
    return (pair for pair, count in found.most_common() if 2 * count > len(probes))


def _shortest(pattern: Pattern) -> Pattern:
    """Give letters and digits that images and label maps share to the part between."""
    a, b, c, d, count = pattern
    while a and c and a[-1] == c[-1] and a[-1].isalnum():
        a, c = a[:-1], c[:-1]
    while b and d and b[0] == d[0] and b[0].isalnum():
        b, d = b[1:], d[1:]
    return Pattern(a, b, c, d, count)


def suffix_of(name: str) -> str:
    """The suffix of an image, as it is spelt; '' for other files."""
    suffix = os.path.splitext(name)[1]
    return suffix if suffix.lower() in IMAGES else ''
