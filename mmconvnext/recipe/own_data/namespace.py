# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The variables of a config file while mmengine runs it, in both of its styles.

In a config with ``_base_``, ``_base_`` is there as an object, the bases in one, and mmengine merges
the file's variables into it afterwards. In a config with ``read_base()`` the variables of the bases
are the file's own, and types are classes that are not imported yet.
"""

from __future__ import annotations

import dis
import re
import types

from mmengine.config import Config, ConfigDict

from ..errors import RecipeError

BASE = '_base_'
LINE = "__import__('mmconvnext').use_own_data(locals())"
# What mmengine puts for {{_base_.some.key}} until the file has run: Config._substitute_base_vars.
PLACEHOLDER = re.compile(r'_([\w.]+)_[0-9a-f]{6}')


def merged(namespace: dict) -> ConfigDict:
    """What mmengine will make of the file; shares nothing with it.

    ``{{_base_.some.key}}`` is filled in here already, where mmengine does it after the file.
    """
    base = namespace.get(BASE, ConfigDict())
    own = {
        key: _copied(value, base)
        for key, value in namespace.items()
        if not key.startswith('__')
        and key != BASE
        and not isinstance(value, (types.FunctionType, types.ModuleType))
    }
    return Config._merge_a_into_b(own, _copied(base))


def write_back(namespace: dict, values: dict) -> None:
    """Set variables so that mmengine's merge gives exactly ``values``."""
    base = namespace.get(BASE, {})
    for key, value in values.items():
        if isinstance(value, dict) and key in base:
            value['_delete_'] = True
        namespace[key] = value


def refuse_changes_below(frame: types.FrameType, keys: tuple) -> None:
    """Nothing that is set here is assigned again further down in the file.

    Raises:
        RecipeError: it is, and 80 classes would be back without a word.
    """
    for step in dis.get_instructions(frame.f_code):
        if step.offset > frame.f_lasti and step.opname == 'STORE_NAME' and step.argval in keys:
            raise RecipeError(
                f'{frame.f_code.co_filename} sets {step.argval} below use_own_data, which would '
                f'undo it; make this the last line of the file:\n{LINE}'
            )


def _copied(node: object, base: dict | None = None) -> object:
    """Dicts and lists anew, each place with one of its own: configs share them at will."""
    if isinstance(node, dict):
        return ConfigDict({key: _copied(value, base) for key, value in dict.items(node)})
    if type(node) in (list, tuple):
        return type(node)(_copied(value, base) for value in node)
    found = PLACEHOLDER.fullmatch(node) if base and isinstance(node, str) else None
    return _of_base(found[1], base, node) if found else node


def _of_base(path: str, base: dict, fallback: str) -> object:
    """What the bases have at a dotted path; a text that only looks like a placeholder stays."""
    node: object = base
    for key in path.split('.'):
        if not isinstance(node, dict) or key not in node:
            return fallback
        node = node[key]
    return _copied(node)
