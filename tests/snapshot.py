# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Snapshots of the objects of other packages in a process, to find out by identity what changed.

A snapshot maps the id of each object to its name, itself, and what it holds by name. It keeps all
of them alive, so that no id is reused for another object.
"""

from __future__ import annotations

import sys
from collections import deque
from types import CellType, FunctionType, ModuleType

# Python's own notes: which warnings were shown, where a module came from.
NOTES = {'__warningregistry__', '__builtins__', '__dict__', '__weakref__'}
VALUES = (bool, int, float, complex, str, bytes, type(None))
FUNCTION = ('__code__', '__defaults__', '__kwdefaults__', '__closure__', '__dict__')


def snapshot(*packages: str) -> dict[int, tuple[str, object, dict]]:
    """Every module, class, function, container and other object of the packages, and its contents.

    That is reached from ``sys.modules``, through classes and objects whose type is of one of them.
    """
    found: dict[int, tuple[str, object, dict]] = {}
    waiting = deque(
        (name, module)
        for name, module in list(sys.modules.items())
        if name.partition('.')[0] in packages and isinstance(module, ModuleType)
    )
    while waiting:
        path, owner = waiting.popleft()
        if id(owner) in found:
            continue
        held = _held(owner, packages)
        if held is not None:
            found[id(owner)] = path, owner, held
            waiting += [
                (f'{path}.{name}', child)
                for name, child in held.items()
                if not issubclass(type(child), (*VALUES, ModuleType))
            ]
    return found


def changes(before: dict, after: dict) -> dict[str, tuple[object, object]]:
    """The paths whose object has changed, with the old one and the new one, or ``...``."""
    found = {}
    for key, (path, _, old) in before.items():
        new = after[key][2] if key in after else old
        for name in {**old, **new}:
            pair = old.get(name, ...), new.get(name, ...)
            if not _same(*pair):
                found[f'{path}.{name}'] = pair
    return found


def _same(old: object, new: object) -> bool:
    plain = type(old) is type(new) and type(old) in VALUES
    return old is new or (plain and (old == new or old != old))


def _held(owner: object, packages: tuple[str, ...]) -> dict | None:
    """What an object holds by name, or None if its contents are not inspected."""
    kind = type(owner)  # some objects answer isinstance with a warning
    if issubclass(kind, dict):
        return {_name(key): value for key, value in list(owner.items()) if key not in NOTES}
    if issubclass(kind, (list, tuple)):
        return {str(place): value for place, value in enumerate(owner)}
    if issubclass(kind, (set, frozenset)):
        return {_name(value): value for value in list(owner)}
    if issubclass(kind, (staticmethod, classmethod, property)):
        return {name: getattr(owner, name, None) for name in ('__func__', 'fget', 'fset', 'fdel')}
    if kind is CellType:
        try:
            return {'cell_contents': owner.cell_contents}
        except ValueError:  # it is empty
            return {}
    if kind is FunctionType and _of(owner.__module__, packages):
        return {name: getattr(owner, name) for name in FUNCTION}
    named = owner if issubclass(kind, type) else kind
    if not issubclass(kind, ModuleType) and not _of(named.__module__, packages):
        return None
    try:
        fields = (type if named is owner else object).__getattribute__(owner, '__dict__')
    except AttributeError:  # it has slots
        return None
    return {name: value for name, value in list(fields.items()) if name not in NOTES}


def _of(module: object, packages: tuple[str, ...]) -> bool:
    return isinstance(module, str) and module.partition('.')[0] in packages


def _name(key: object) -> str:
    return str(key) if type(key) in VALUES else f'{type(key).__name__} at {id(key)}'
