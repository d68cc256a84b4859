# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Log lines about ``custom_keys`` that change a whole backbone: a base config may have set them.

In mmdet and mmseg, DINO, Deformable DETR and Mask2Former train the backbone at a tenth of the rate.
In a config that inherits from them, this factor multiplies the layer-wise decay.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .rules import custom_key, decay_factor
from .walk import Place


def whole_backbones(
    places: list[Place], custom_keys: Mapping[str, Mapping], shapes: Mapping[int, torch.Size]
) -> list[str]:
    """One line for each backbone in which ``custom_keys`` change every weight.

    Norms, biases and scales are not considered: a key may leave them out. The line names the keys
    and shows the ``custom_keys`` that undo them.

    Args:
        places: places of the trained parameters.
        custom_keys: as in ``paramwise_cfg``.
        shapes: by ``id``, the unsharded shapes of sharded parameters.
    """
    backbones: dict[int, list[Place]] = {}
    for place in places:
        if place.backbone is not None:
            backbones.setdefault(id(place.backbone), []).append(place)
    changing = [key for key, settings in custom_keys.items() if _changes(settings)]
    lines = []
    for inside in backbones.values():
        keys = [custom_key(place.name, custom_keys) for place in inside]
        weights = {
            key
            for place, key in zip(inside, keys)
            if decay_factor(place, {}, shapes.get(id(place.param), place.param.shape))
        }
        if weights and weights <= set(changing):
            counts = {key: keys.count(key) for key in changing if key in keys}
            lines.append(_line(inside[0], counts, custom_keys))
    return lines


def _changes(settings: Mapping) -> bool:
    return any(name != 'lr_mult' or value != 1 for name, value in settings.items())


def _line(place: Place, counts: Mapping[str, int], custom_keys: Mapping[str, Mapping]) -> str:
    name = place.name[: -len(place.inner)].rstrip('.') or type(place.backbone).__name__
    effects = [
        f'{_effect(custom_keys[key])} ({count} tensors, key {key!r})'
        for key, count in counts.items()
    ]
    undo = ', '.join(f'{key!r}: dict(_delete_=True)' for key in counts)
    return (
        f'custom_keys give {name} {", ".join(effects)}; if they come from a base config, '
        f'undo them in paramwise_cfg with custom_keys={{{undo}}}'
    )


def _effect(settings: Mapping) -> str:
    """Such as '0.1 times the learning rate and 0 times the weight decay, also of norms and ...'."""
    words = dict(
        lr_mult='{:g} times the learning rate',
        decay_mult='{:g} times the weight decay, also of norms and biases',
    )
    parts = [
        words[name].format(value) if name in words else f'{name}={value!r}'
        for name, value in settings.items()
    ]
    return ' and '.join(parts)
