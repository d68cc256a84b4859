# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Does what follows the backbone expect its channels, and does it take every map?"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from ..errors import RecipeError
from ..walk import backbones, registered, type_name
from .finding import Finding

HEADS = ('decode_head', 'auxiliary_head')
KERNELS = 'kernel_generate_head'  # of mmseg's IterativeDecodeHead


@dataclass(frozen=True)
class Returned:
    """A backbone, the model that it is a part of, and the maps that it returns to it."""

    path: str
    owner: dict
    widths: tuple[int, ...]  # of all stages
    stages: list[int]  # that each returned map comes from
    frozen_stages: int

    @property
    def model(self) -> str:
        return self.path.rpartition('.')[0]

    @property
    def channels(self) -> list[int]:
        return [self.widths[stage] for stage in self.stages]

    @property
    def neck(self) -> tuple[str, dict]:
        """The first neck, and its path from the model; an empty one where there is none."""
        neck = self.owner.get('neck') or {}
        return ('neck.0', neck[0]) if isinstance(neck, (list, tuple)) else ('neck', neck)

    def heads(self) -> Iterator[tuple[str, dict, list[int]]]:
        """The heads that take maps by their index, and the positions that they take."""
        for key in HEADS:
            given = self.owner.get(key) or []
            many = isinstance(given, (list, tuple))
            for i, node in enumerate(given if many else [given]):
                path = f'{key}.{i}' if many else key
                if KERNELS in node:  # K-Net's: the head that makes its kernels takes the maps
                    path, node = f'{path}.{KERNELS}', node[KERNELS]
                yield path, node, self._positions(path, node)

    def _positions(self, path: str, node: dict) -> list[int]:
        count, index = len(self.stages), node.get('in_index')
        if 'in_channels' not in node:  # what it takes is not known
            return list(range(count))
        if index is None:  # mmdet's heads in mmseg take all; mmseg's own the last one
            several = isinstance(node.get('in_channels'), (list, tuple))
            index = list(range(count)) if several else -1
        taken = index if isinstance(index, (list, tuple)) else [index]
        if any(not -count <= i < count for i in taken):
            raise RecipeError(
                f'{path}.in_index={index} asks for a map that the backbone does not return; it '
                f'returns {count}'
            )
        return [i % count for i in taken]


def check_channels(cfg: Config) -> None:
    """The neck, or the heads without a neck, take the channels that the backbone returns.

    Raises:
        RecipeError: they differ, or the backbone's arch is unknown.
    """
    for found in _returned(cfg):
        path, neck = found.neck
        if neck:
            if 'in_channels' in neck:  # pooling takes any, and what lacks it says so itself
                last = isinstance(neck['in_channels'], int)  # CTResNetNeck, DilatedEncoder
                channels = found.channels[-1:] if last else found.channels
                _compare(found, channels, path, neck['in_channels'])
            continue
        for path, node, taken in found.heads():
            if 'in_channels' in node:
                channels = [found.channels[i] for i in taken]
                _compare(found, channels, path, node['in_channels'])


def check_unused_maps(cfg: Config) -> Iterator[Finding]:
    """Every map that the backbone returns is taken, where DistributedDataParallel trains.

    It waits for the gradient of every parameter, and the norm of a map that nothing takes gets
    none: "Expected to have finished reduction". A run without it goes on undisturbed.
    """
    if cfg.get('launcher', 'none') == 'none' or _finds_unused(cfg):
        return
    for found in _returned(cfg):
        taken, mend = _taken_by_neck(found) if found.neck[1] else _taken_by_heads(found)
        used = {found.stages[i] for i in taken}
        frozen = range(found.frozen_stages)
        unused = [i for i in sorted({*found.stages} - used) if i not in frozen]
        if unused:
            stages = ', '.join(str(found.stages[i]) for i in taken)
            lines = {'backbone.out_indices': f'({stages}{"," * (len(taken) == 1)})', **mend}
            lines = '\n'.join(f'  {found.model}.{key}={value}' for key, value in lines.items())
            yield Finding(
                f'nothing takes the map of stage {", ".join(map(str, unused))} that {found.path} '
                'returns, and DistributedDataParallel stops at a norm that gets no gradient '
                f'("Expected to have finished reduction"); set\n{lines}\n'
                'or find_unused_parameters=True, which is slower',
                'unused_maps',
            )


def _returned(cfg: Config) -> Iterator[Returned]:
    for path, backbone in backbones(cfg):
        built = _built(cfg, path, backbone)
        owner = cfg.model
        for key in path.split('.')[1:-1]:  # a backbone may lie in a wrapped detector
            owner = owner[int(key) if isinstance(owner, list) else key]
        stages = list(built.out_indices)
        yield Returned(path, owner, built.arch.channels, stages, built.frozen_stages)


def _built(cfg: Config, path: str, backbone: dict) -> nn.Module:
    """The backbone without memory: it alone knows what its arguments, in any spelling, mean."""
    kind = registered(cfg, MODELS, backbone)
    arguments = {key: value for key, value in backbone.items() if key not in ('type', '_scope_')}
    try:
        with torch.random.fork_rng(devices=[]), torch.device('meta'):
            return kind(**copy.deepcopy(arguments))
    except (TypeError, ValueError) as error:
        raise RecipeError(f'{path}: {error}') from error


def _taken_by_neck(found: Returned) -> tuple[list[int], dict]:
    """Positions that a neck of FPN's kind takes, and what to set where the others are left out."""
    path, neck = found.neck
    if isinstance(neck.get('in_channels'), int):
        return [len(found.stages) - 1], {}
    count, start, last = len(found.stages), neck.get('start_level', 0), neck.get('end_level', -1)
    taken = list(range(count))[start : count if last == -1 else last + 1]
    mend = {f'{path}.in_channels': [found.channels[i] for i in taken]}
    mend.update({f'{path}.start_level': 0} if start else {})
    mend.update({f'{path}.end_level': -1} if last != -1 else {})
    return taken, mend


def _taken_by_heads(found: Returned) -> tuple[list[int], dict]:
    heads = list(found.heads())
    if not heads:  # of a detector without a neck: it gets all
        return list(range(len(found.stages))), {}
    taken = {i for _, _, positions in heads for i in positions}
    if any(node.get('c1_in_channels') for _, node, _ in heads):  # DeepLabV3+ takes the first too
        taken.add(0)
    taken = sorted(taken)
    mend = {}
    for path, node, positions in heads:
        after = [taken.index(i) for i in positions]
        mend[f'{path}.in_index'] = (
            after if isinstance(node.get('in_channels'), (list, tuple)) else after[0]
        )
    return taken, mend


def _finds_unused(cfg: Config) -> bool:
    """Whether parameters without a gradient are no error, as Runner.wrap_model decides it."""
    wrapper = cfg.get('model_wrapper_cfg')
    if wrapper is None:
        return bool(cfg.get('find_unused_parameters'))
    given = 'type' not in wrapper or 'DistributedDataParallel' in type_name(wrapper)
    return not given or bool(wrapper.get('find_unused_parameters') or wrapper.get('static_graph'))


def _compare(found: Returned, channels: list[int], what: str, given: object) -> None:
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    if given != channels:
        shown = given if len(given) > 1 else given[0]
        raise RecipeError(
            f'{found.model}.{what}.in_channels={shown}, but {found.path} '
            f'with channels {list(found.widths)} returns {channels}; set in_channels to that'
        )
