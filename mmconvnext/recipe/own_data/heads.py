# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Sets the number of classes in a model."""

from __future__ import annotations

import logging

from mmengine.logging import print_log

from ..families import has_own_classes
from ..walk import dicts


def set_classes(model: dict, things: int, stuff: int, scope: str) -> None:
    """Set the number of classes in every head and its losses.

    Args:
        things: number of classes with instances, the first ones; for a segmentor, all of them.
        stuff: number of classes without instances, the last ones.
        scope: 'mmdet' or 'mmseg'; in mmseg ``out_channels`` follows the classes.
    """
    for path, node in dicts(model, 'model'):
        before, count = node.get('num_classes'), things + stuff
        if 'num_things_classes' in node:
            before = node['num_things_classes'] + node.get('num_stuff_classes', 0)
        elif 'roi_head' in path.split('.'):  # only things have boxes
            count = things
        if before is None or has_own_classes(path, node):
            continue
        new = dict(num_classes=count, num_things_classes=things, num_stuff_classes=stuff)
        if scope == 'mmseg' and node.get('out_channels') == before:
            new['out_channels'] = count
        node.update({key: value for key, value in new.items() if key in node})
        for inner_path, inner in dicts(node, path):
            _set_weights(inner_path, inner, before, count)


def _set_weights(path: str, node: dict, before: int, count: int) -> None:
    """Adapt the ``class_weight`` of a loss; an extra last weight is that of "no object"."""
    weights = node.get('class_weight')
    if not isinstance(weights, (list, tuple)) or before == count:
        return
    if len(weights) not in (before, before + 1):
        return  # the user's own, or one that the loss itself refuses
    if len(set(weights[:before])) == 1:
        node['class_weight'] = [weights[0]] * count + list(weights[before:])
        return
    # Not an error: to fix it, a config would have to repeat the whole list of heads or losses.
    node.pop('class_weight')
    print_log(
        f'{path}.class_weight has {len(weights)} weights for the classes of the base; own_data '
        f'has {count} other classes, so it drops them. To set your own weights, write '
        f'class_weight=[...] there, with {count} numbers',
        logger='current',
        level=logging.WARNING,
    )
