# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Optimizer groups: merging parameters with equal settings, and a table of the groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn


@dataclass
class Group:
    """Parameters that share every optimizer setting, and the depth groups they come from."""

    settings: dict
    params: list[nn.Parameter] = field(default_factory=list)
    depths: set[int] = field(default_factory=set)

    def as_param_group(self) -> dict:
        """What torch's optimizers take."""
        return {'params': self.params, **self.settings}


def merge(rows: list[tuple[nn.Parameter, int, dict]], base_lr: float) -> list[Group]:
    """Merge (parameter, depth, settings) rows whose settings are equal.

    A group at ``base_lr`` comes first, because mmengine logs the rate of the first group as ``lr``;
    the others follow by decreasing rate. Within a group, parameters keep the model's order, so
    equal models give equal groups; resuming relies on that.
    """
    groups: dict[tuple, Group] = {}
    for param, depth, settings in rows:
        key = tuple(sorted((name, repr(value)) for name, value in settings.items()))
        group = groups.setdefault(key, Group(settings))
        group.params.append(param)
        group.depths.add(depth)

    def rank(item: tuple[tuple, Group]) -> tuple:
        key, lr = item[0], item[1].settings['lr']
        return lr != base_lr, -lr, key

    return [group for _, group in sorted(groups.items(), key=rank)]


def format_table(groups: list[Group], shapes: Mapping[int, Sequence[int]] | None = None) -> str:
    """One line per group: depths, learning rate, weight decay, tensors, parameters.

    ``shapes``: by ``id``, the unsharded shapes of sharded parameters, which are counted in full.
    """
    shapes = shapes or {}
    lines = [f'{"depth":>9} {"lr":>10} {"weight decay":>13} {"tensors":>8} {"parameters":>12}']
    for group in groups:
        low, high = min(group.depths), max(group.depths)
        depth = str(low) if low == high else f'{low} to {high}'
        decay = group.settings.get('weight_decay')
        numel = sum(math.prod(shapes.get(id(param), param.shape)) for param in group.params)
        lines.append(
            f'{depth:>9} {group.settings["lr"]:>10.3e} '
            f'{"default" if decay is None else format(decay, "g"):>13} '
            f'{len(group.params):>8} {numel:>12,}'
        )
    return '\n'.join(lines)
