# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Divides images into those to learn from and those to measure with."""

from __future__ import annotations

import posixpath
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Set

SEED = 0  # of the choice of images; our choice


def divide(
    contents: Mapping[Hashable, Set],
    fraction: float,
    seed: int = SEED,
    groups: Mapping[Hashable, Hashable] | None = None,
) -> tuple[list, list]:
    """Two lists of images, with about this fraction of each class in the second.

    Iterative stratification (Sechidis et al., ECML PKDD 2011): images of the rarest class are
    given away first, each to the list that lacks this class most. Each list gets an image at
    least. The same images give the same lists, in whichever order they come.

    Args:
        contents: the classes in each image.
        fraction: between 0 and 1.
        groups: the group of each image; a group is in one list as a whole. None: each is its own.

    Raises:
        ValueError: there is only one image or group, or the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f'the fraction {fraction!r} is not between 0 and 1')
    members: dict[Hashable, list] = {}
    for image in sorted(contents, key=str):
        members.setdefault(groups[image] if groups else image, []).append(image)
    if len(members) < 2:
        raise ValueError(f'two {"groups" if groups else "images"} are needed at least')
    held = {unit: Counter(c for i in own for c in contents[i]) for unit, own in members.items()}
    units = sorted(members, key=str)
    random.Random(seed).shuffle(units)
    units.sort(key=lambda unit: -len(members[unit]))  # large groups while both lists have room
    shares = (1 - fraction, fraction)
    total = sum(held.values(), Counter())
    wanted = [{c: share * n for c, n in total.items()} for share in shares]
    room = [share * len(contents) for share in shares]
    chosen: tuple[list, list] = ([], [])
    left = dict.fromkeys(units)

    def give(unit: Hashable, rarest: Hashable | None) -> None:
        # The list that lacks the class most, then the one with most room.
        which = max((0, 1), key=lambda i: (wanted[i].get(rarest, 0.0), room[i]))
        chosen[which].append(unit)
        room[which] -= len(members[unit])
        for c, count in held[unit].items():
            wanted[which][c] -= count
        del left[unit]

    by_class: dict[Hashable, list] = {c: [] for c in total}
    for unit in units:
        for c in held[unit]:
            by_class[c].append(unit)
    for c in sorted(by_class, key=lambda c: (total[c], str(c))):
        for unit in by_class[c]:
            if unit in left:
                give(unit, c)
    for unit in list(left):
        give(unit, None)
    for i in (0, 1):
        if not chosen[i]:
            chosen[i].append(chosen[1 - i].pop())
    train, val = ([image for unit in part for image in members[unit]] for part in chosen)
    return train, val


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
