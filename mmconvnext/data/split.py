# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Divides images into those to learn from and those to measure with."""

from __future__ import annotations

import posixpath
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Set

SEED = 0  # of the choice of images; our choice


def divide(contents: Mapping[Hashable, Set], fraction: float) -> tuple[list, list]:
    """Two lists of images, with about this fraction of each class in the second.

    Iterative stratification (Sechidis et al., ECML PKDD 2011): images of the rarest class are
    given away first, each to the list that lacks this class most. Each list gets an image at
    least. The same images give the same lists, in whichever order they come.

    Args:
        contents: the classes in each image.
        fraction: between 0 and 1.

    Raises:
        ValueError: there is only one image, or the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f'the fraction {fraction!r} is not between 0 and 1')
    if len(contents) < 2:
        raise ValueError('two images are needed at least')
    images = sorted(contents, key=str)
    random.Random(SEED).shuffle(images)
    shares = (1 - fraction, fraction)
    total = Counter(c for image in images for c in contents[image])
    wanted = [{c: share * n for c, n in total.items()} for share in shares]
    room = [share * len(images) for share in shares]
    chosen: tuple[list, list] = ([], [])
    left = dict.fromkeys(images)

    def give(image: Hashable, rarest: Hashable | None) -> None:
        # The list that lacks the class most, then the one with most room.
        which = max((0, 1), key=lambda i: (wanted[i].get(rarest, 0.0), room[i]))
        chosen[which].append(image)
        room[which] -= 1
        for c in contents[image]:
            wanted[which][c] -= 1
        del left[image]

    by_class: dict[Hashable, list] = {c: [] for c in total}
    for image in images:
        for c in contents[image]:
            by_class[c].append(image)
    for c in sorted(by_class, key=lambda c: (len(by_class[c]), str(c))):
        for image in by_class[c]:
            if image in left:
                give(image, c)
    for image in list(left):
        give(image, None)
    for i in (0, 1):
        if not chosen[i]:
            chosen[i].append(chosen[1 - i].pop())
    return chosen


def choose(names: list[str], wanted: list[str]) -> tuple[list[str], list[str]]:
    """The names of files that a list wants, and what it wants in vain.

    A file is wanted with or without its folder and suffix; a spelling that fits several is in vain.
    """
    whole = {_plain(name): name for name in names}
    short: dict[str, set[str]] = {}
    for slashed, name in whole.items():
        base = slashed.rpartition('/')[2]
        for spelling in (slashed.rpartition('.')[0], base, base.rpartition('.')[0]):
            short.setdefault(spelling, set()).add(name)
    cleaned = [_plain(name.strip()) for name in wanted if name.strip()]
    fits = {name: {whole[name]} if name in whole else short.get(name, set()) for name in cleaned}
    found = {next(iter(fits[name])): None for name in cleaned if len(fits[name]) == 1}
    return list(found), [name for name in cleaned if len(fits[name]) != 1]


def _plain(name: str) -> str:
    return posixpath.normpath(name.replace('\\', '/'))
