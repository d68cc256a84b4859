# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The number of classes in a model."""

from __future__ import annotations

import logging

from mmengine.logging import print_log

from ..families import has_own_classes
from ..walk import dicts


def set_classes(model: dict, count: int, scope: str) -> None:
    """Tell every head, and what is inside of it, how many classes there are; all are things."""
    for path, node in dicts(model, 'model'):
        before = node.get('num_classes')
        if 'num_things_classes' in node:
            before = node['num_things_classes'] + node.get('num_stuff_classes', 0)
        if before is None or has_own_classes(path, node):
            continue
        new = dict(num_classes=count, num_things_classes=count, num_stuff_classes=0)
        if scope == 'mmseg' and node.get('out_channels') == before:
            new['out_channels'] = count
        node.update({key: value for key, value in new.items() if key in node})
        for inner_path, inner in dicts(node, path):
            _set_weights(inner_path, inner, before, count)


def _set_weights(path: str, node: dict, before: int, count: int) -> None:
    """Make ``class_weight`` of a loss fit; after the classes may come "no object"."""
    weights = node.get('class_weight')
    if not isinstance(weights, (list, tuple)) or before == count:
        return
    if len(weights) not in (before, before + 1):
        return  # the user's own, or what the loss itself will refuse
    if len(set(weights[:before])) == 1:
        node['class_weight'] = [weights[0]] * count + list(weights[before:])
        return
    # Not an error: in a list of heads or losses mmengine lets a config replace the whole list only.
    node.pop('class_weight')
    print_log(
        f'{path}.class_weight holds {len(weights)} weights for the classes of the base; own_data '
        f'has {count} others and drops them. Weights of your own go there with '
        f'class_weight=[...], {count} numbers',
        logger='current',
        level=logging.WARNING,
    )
