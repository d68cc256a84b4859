# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The variables of a config file while mmengine runs it, in both styles of config.

With ``_base_``, the variable ``_base_`` holds the merged bases, and mmengine merges the file's
variables into it after the file has run. With ``read_base()``, the variables of the bases are
variables of the file, and a ``type`` is a class that is not imported yet.
"""

from __future__ import annotations

import dis
import re
import types

from mmengine.config import Config, ConfigDict

from ..errors import RecipeError

BASE = '_base_'
LINE = "__import__('mmconvnext').use_own_data(locals())"
# mmengine's placeholder for {{_base_.some.key}} while the file runs: Config._substitute_base_vars.
PLACEHOLDER = re.compile(r'_([\w.]+)_[0-9a-f]{6}')


def merged(namespace: dict) -> ConfigDict:
    """The config that mmengine will build from the file, as a deep copy.

    mmengine fills in ``{{_base_.some.key}}`` after the file has run; here it is filled in already.
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
    """Refuse an assignment below the call in the file to a key that it has set.

    Raises:
        RecipeError: there is one; it would silently restore the classes of the base.
    """
    for step in dis.get_instructions(frame.f_code):
        if step.offset > frame.f_lasti and step.opname == 'STORE_NAME' and step.argval in keys:
            raise RecipeError(
                f'{frame.f_code.co_filename} sets {step.argval} below use_own_data, which would '
                f'undo its changes; make this the last line of the file:\n{LINE}'
            )


def _copied(node: object, base: dict | None = None) -> object:
    """A deep copy in which no two places share a dict or a list, as they may in configs."""
    if isinstance(node, dict):
        return ConfigDict({key: _copied(value, base) for key, value in dict.items(node)})
    if type(node) in (list, tuple):
        return type(node)(_copied(value, base) for value in node)
    found = PLACEHOLDER.fullmatch(node) if base and isinstance(node, str) else None
    return _of_base(found[1], base, node) if found else node


def _of_base(path: str, base: dict, fallback: str) -> object:
    """The value of the bases at a dotted path; ``fallback`` if it is no placeholder after all."""
    node: object = base
    for key in path.split('.'):
        if not isinstance(node, dict) or key not in node:
            return fallback
        node = node[key]
    return _copied(node)
