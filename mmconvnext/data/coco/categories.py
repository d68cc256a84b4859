# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The entries of "categories": ids, names, and their order, which is that of the labels."""

from __future__ import annotations

import re

from ..ledger import Ledger, Tally
from ..values import LARGEST_ID, key

IDS = 'ids of categories that are no integers, made integers'
NAMES = 'names of categories that are numbers, made strings'
BLANKS = (
    'names of classes with blanks around them, which are left out; names that become the same by '
    'it are one class'
)
BREAKS = 'names of classes with line breaks or other control characters, made blanks'
TWICE = 'categories that are listed twice, made one'
CHECK = 'categories'
CONTROL = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029]+')


def sound_categories(
    entries: list, classes: tuple[str, ...], ledger: Ledger
) -> tuple[list[dict], dict[int | str, int]]:
    """Check all categories; return the sound entries, and their ids by the key of the listed id.

    If all classes are listed, they come first and in their order, because mmdet numbers the labels
    in the order of the file; then they are numbered from 1. Blanks around a name stay only if it is
    so in ``classes``.
    """
    by_name: dict[str, dict] = {}
    ids: dict[int | str, str] = {}
    broken, doubles = Tally(), Tally()
    for position, entry in enumerate(entries):
        entry = entry if isinstance(entry, dict) else {}
        k, name = key(entry.get('id')), entry.get('name')
        if type(name) in (int, float):
            ledger.mend(NAMES, name)
            name = str(name)
        elif isinstance(name, str) and name not in classes and CONTROL.search(name.strip()):
            ledger.mend(BREAKS, repr(name))
            name = CONTROL.sub(' ', name).strip()
        elif isinstance(name, str) and name not in classes and name != name.strip():
            ledger.mend(BLANKS, repr(name))
            name = name.strip()
        if k is None or not isinstance(name, str) or not name:
            broken.add(f'number {position} is {str(entries[position])[:80]}')
        elif ids.setdefault(k, name) != name:
            doubles.add(f'{entry["id"]}: {ids[k]!r} and {name!r}')
        elif name in by_name:
            ledger.mend(TWICE, name)
        else:
            by_name[name] = entry if entry['name'] == name else {**entry, 'name': name}
    if not entries:
        ledger.refuse(CHECK, '"categories" is empty: label the objects, or export with their names')
    if broken.count:
        ledger.refuse(
            CHECK,
            f'{broken.count} entries of "categories" lack an "id" or a "name" ({broken}); '
            'write each as {"id": 1, "name": "cat"}',
        )
    if doubles.count:
        ledger.refuse(
            CHECK,
            f'{doubles.count} ids of categories have two names ({doubles}): give each its own',
        )
    keys = {name: key(entry['id']) for name, entry in by_name.items()}
    whole = all(type(k) is int and abs(k) <= LARGEST_ID for k in keys.values())
    for i, (name, entry) in enumerate(by_name.items(), 1):
        if type(entry['id']) is not int or not whole:
            ledger.mend(IDS, entry['id'])
            by_name[name] = {**entry, 'id': keys[name] if whole else i}
    if set(classes) <= set(by_name):
        rest = [name for name in by_name if name not in classes]
        order = list(by_name) if _in_order(list(by_name), classes) else [*classes, *rest]
        if order != list(by_name):
            # pycocotools sorts its results by id, and mmdet prints them in the order of the file.
            by_name = {name: {**by_name[name], 'id': i} for i, name in enumerate(order, 1)}
    return list(by_name.values()), {k: by_name[name]['id'] for k, name in ids.items()}


def _in_order(names: list[str], classes: tuple[str, ...]) -> bool:
    return [name for name in names if name in set(classes)] == list(classes)
