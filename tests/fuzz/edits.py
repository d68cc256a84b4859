# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Turns bytes into edits of a sound content, which reach deeper than bytes that are no JSON."""

import copy
import json

ODD = [
    *(None, True, 0, -1, 1.5, -0.0, 1e308, -1e308, 2**63, 10**400, float('nan'), float('inf')),
    *('', 'x', '1', '\0', '../../x', '/etc/passwd', 'a' * 5000, '\ud800', 'NaN', b'\xff'.hex()),
    *([], {}, [[]], [None], [[1, 2]], [1, 2, 3], {'counts': 'x', 'size': [1, 1]}, [0] * 9),
    *({'counts': [1, 2], 'size': [-1, 4]}, {'id': []}, [[float('nan')] * 6]),
]


def edited(sound: object, data: bytes) -> object:
    """Each pair of bytes chooses a node of the content, and what becomes of it: an odd value, say.

    Of the second byte, the last values remove a node, double it, or put it in a list.
    """
    content = copy.deepcopy(sound)
    for where, what in zip(data[::2], data[1::2]):
        places = [*_places(content)]
        if not places:
            break
        parent, key = places[where * 7919 % len(places)]
        if what < 200:
            parent[key] = copy.deepcopy(ODD[what % len(ODD)])
        elif what < 225:
            del parent[key]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        else:
            parent[key] = [parent[key]]
    return content


def as_json(sound: object, data: bytes) -> bytes:
    return json.dumps(edited(sound, data)).encode('utf-8', 'surrogatepass')


def _places(node: object):
    items = enumerate(node) if isinstance(node, list) else ()
    for key, value in node.items() if isinstance(node, dict) else items:
        yield node, key
        yield from _places(value)
