# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads data/recipes, the table of every value of every recipe, and compares configs with it.

The format is at the top of ``data/recipes/recipes.yml``.
"""

import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from fixtures import CONFIGS
from mmengine import Config

FOLDER = Path(__file__).parent / 'data' / 'recipes'
KINDS = ('source', 'own', 'framework')


def _read(file: Path) -> Any:
    return yaml.load(file.read_text(encoding='utf-8'), yaml.CSafeLoader)


ROWS = {row['config']: row for row in _read(FOLDER / 'recipes.yml')['recipes']}
PARTS = {
    name: groups
    for file in sorted(FOLDER.glob('parts/*.yml'))
    for name, groups in _read(file).items()
}
# The 13 recipes that Meta published, with their results.
PUBLISHED = {name: row for name, row in ROWS.items() if 'results' in row}


@functools.cache
def _parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / name)


def load(name: str) -> Config:
    """A fresh copy of the merged config ``configs/<name>``, as any tool of OpenMMLab reads it."""
    return copy.deepcopy(_parsed(name))


class Expected(NamedTuple):
    """What a key should hold, and who says so."""

    value: Any
    reason: str


def flat(value: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of all leaves: ``model.neck.in_channels``, ``train_pipeline[0].type``.

    A list without dicts is one leaf, and so is an empty dict; tuples are lists, as after any dump.
    """
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f'{path}.{key}' if path else key)
    elif isinstance(value, (list, tuple)):
        items = [dict(flat(item, path)) for item in value]
        if all(set(leaves) == {path} and leaves[path] != {} for leaves in items):
            yield path, [leaves[path] for leaves in items]
        else:
            for i, item in enumerate(value):
                yield from flat(item, f'{path}[{i}]')
    else:
        yield path, value


def _below(key: str, path: str) -> bool:
    return key == path or key.startswith((path + '.', path + '['))


def _apply(group: dict, where: str, table: dict[str, Expected]) -> None:
    (kind,) = set(group) & set(KINDS)
    others = set(group) - {kind, 'differs', 'values', 'changes', 'drops'}
    assert not others, f'{where}: unknown {others}'
    assert isinstance(group[kind], str) and group[kind], f'{where}: no reason'
    reason = f'{where}, {kind}: {group[kind]}'
    for path in group.get('drops', ()):
        dropped = [key for key in table if _below(key, path)]
        assert dropped, f'{where}: there is no {path} to drop'
        for key in dropped:
            del table[key]
    for key, value in flat(group.get('changes', {})):
        if key:
            assert key in table, f'{where}: there is no {key} to change'
            assert table[key].value != value, f'{where}: {key} is {value} already'
            table[key] = Expected(value, reason)
    for key, value in flat(group.get('values', {})):
        if key:
            assert key not in table, f'{where}: {key} is in {table[key].reason} already'
            table[key] = Expected(value, reason)


def expected(name: str) -> dict[str, Expected]:
    """The table of a recipe, by key."""
    table: dict[str, Expected] = {}
    for part in ROWS[name]['parts']:
        for group in PARTS[part]:
            _apply(group, f'part {part}', table)
    for group in ROWS[name]['groups']:
        _apply(group, 'its own row', table)
    for key, (value, reason) in list(table.items()):
        if isinstance(value, str) and value.startswith('= '):
            path = value[2:]
            copies = {
                key + other[len(path) :]: table[other] for other in table if _below(other, path)
            }
            assert copies, f'{key}: there is no {path}'
            del table[key]
            table |= {copy: Expected(item.value, reason) for copy, item in copies.items()}
    return table


def leaves(config: dict) -> dict[str, Any]:
    """A merged config by key, without the scopes that mmengine adds to what it inherits."""
    return {k: v for k, v in flat(config) if k.rpartition('.')[2] != '_scope_'}


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted.startswith('~ '):
        return isinstance(value, str) and re.fullmatch(wanted[2:], value) is not None
    if isinstance(wanted, list) and isinstance(value, list):
        return len(value) == len(wanted) and all(map(_equal, value, wanted))
    return type(value) is type(wanted) and value == wanted


def differences(config: dict[str, Any], table: dict[str, Expected]) -> list[str]:
    """A line for each key in which the leaves of a config are not as the table says."""
    lines = []
    for key, (value, reason) in table.items():
        if key not in config:
            lines.append(f'{key} is missing, should be {value!r} ({reason})')
        elif not _equal(config[key], value):
            lines.append(f'{key} is {config[key]!r}, should be {value!r} ({reason})')
    for key, value in config.items():
        if key not in table:
            lines.append(f'{key} is {value!r}, which tests/data/recipes does not know')
    return lines
