# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Find the smallest config that gives a target when mmengine merges it into its bases."""

from __future__ import annotations

DELETE, SCOPE = '_delete_', '_scope_'


def difference(base: dict, target: dict) -> dict:
    """What to merge into ``base`` to get ``target``; top-level keys that only ``base`` has stay.

    A dict that loses a key or changes its type is replaced as a whole, with ``_delete_``.
    """
    return {
        key: change
        for key, value in target.items()
        for change in [_change(base[key], value) if key in base else value]
        if change is not _SAME
    }


_SAME = object()


def _change(old: object, new: object) -> object:
    if same(old, new):
        return _SAME
    if not isinstance(new, dict):
        return new
    if not isinstance(old, dict):
        return {DELETE: True, **new}
    if set(_meant(old)) - set(new) or old.get('type') != new.get('type'):
        return {DELETE: True, **new}
    return difference(old, new)


def same(one: object, two: object) -> bool:
    """Whether two config values mean the same."""
    if isinstance(one, dict) and isinstance(two, dict):
        one, two = _meant(one), _meant(two)
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and one == two or (_number(one) and _number(two) and one == two)


def _meant(value: dict) -> dict:
    """The dict without mmengine's ``_scope_`` and without a default ``backend_args``."""
    unset = {'backend_args': None}
    return {k: v for k, v in value.items() if k != SCOPE and not (k in unset and v is None)}


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def differing(one: dict, two: dict, path: str = '') -> list[str]:
    """The dotted paths at which two dicts differ, the innermost ones only."""
    found = []
    one, two = _meant(one), _meant(two)
    for key in [*one, *(key for key in two if key not in one)]:
        if key in one and key in two and same(one[key], two[key]):
            continue
        inner = isinstance(one.get(key), dict) and isinstance(two.get(key), dict)
        below = differing(one[key], two[key], f'{path}{key}.') if inner else []
        found += below or [f'{path}{key}']
    return found
