# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a type in a config that is in no registry tells: mmengine's KeyError names no other."""

from __future__ import annotations

import difflib
import re

import mmengine.registry
from mmengine.registry import Registry

# mmengine's text; before the name, versions differ.
MESSAGE = re.compile(r'([\w.]+) is not in the ([\w:.]+) registry')


def unregistered(error: KeyError) -> str:
    """The message for the user; '' if the error is of another kind."""
    found = MESSAGE.search(str(error))
    if not found:
        return ''
    name, registry = found[1], found[2].rpartition('::')[2]
    near = difflib.get_close_matches(name.rpartition('.')[2], _names(registry), n=3, cutoff=0.6)
    hint = f'; did you mean {", ".join(near)}?' if near else '.'
    return (
        f'type={name!r} is not in the registry {registry!r}{hint} If it is code of your own, name '
        'its module in custom_imports'
    )


def _names(registry: str) -> list[str]:
    roots = [root for root in vars(mmengine.registry).values() if isinstance(root, Registry)]
    found = [one for root in roots for one in (root, *root.children.values())]
    return sorted({name for one in found if one.name == registry for name in one.module_dict})
