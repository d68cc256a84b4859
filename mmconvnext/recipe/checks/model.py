# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Checks that necks and heads fit the maps of the backbone, and that every map is used."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config

from ..errors import RecipeError
from ..families import Family, Input, Maps, backbone_maps, find_family
from ..walk import type_name
from .finding import Finding


def check_channels(cfg: Config) -> None:
    """Check that the neck, or the heads without a neck, take the channels of the backbone's maps.

    Raises:
        RecipeError: they differ, or the backbone cannot be built.
    """
    for found in backbone_maps(cfg):
        for part in _inputs(cfg, found):
            if 'in_channels' in part.node:  # pooling layers take any number
                _compare(found, part)


def check_unused_maps(cfg: Config) -> Iterator[Finding]:
    """Check that every map of the backbone reaches a loss if DistributedDataParallel is used.

    DistributedDataParallel waits for the gradient of every parameter, and the norm of an unused
    map gets none. In a single process an unused map does no harm.
    """
    if cfg.get('launcher', 'none') == 'none' or _finds_unused(cfg):
        return
    for found in backbone_maps(cfg):
        inputs = _inputs(cfg, found)
        if not inputs:  # unknown: assume that all maps are used
            continue
        used = sorted({i for part in inputs for i in part.used})
        unused = sorted({*found.stages} - {found.stages[i] for i in used})
        unused = [stage for stage in unused if stage not in range(found.frozen_stages)]
        if unused:
            stages = ', '.join(str(found.stages[i]) for i in used)
            lines = {'backbone.out_indices': f'({stages}{"," * (len(used) == 1)})'}
            for part in inputs:
                lines.update(_without_unused(found, part, used))
            lines = '\n'.join(f'  {found.model_path}.{key}={lines[key]}' for key in lines)
            yield Finding(
                f'nothing uses the map of stage {", ".join(map(str, unused))} that {found.path} '
                'returns. DistributedDataParallel stops at its norm, which gets no gradient '
                f'("Expected to have finished reduction"). Set\n{lines}\n'
                'or find_unused_parameters=True, which is slower',
                'unused_maps',
            )


def _inputs(cfg: Config, found: Maps) -> list[Input]:
    family = find_family(cfg, found.model)
    if family is None:  # unknown model: check its neck anyway
        family = Family()
    return family.inputs(found.model, len(found.stages))


def _without_unused(found: Maps, part: Input, used: list[int]) -> dict[str, object]:
    """The settings of a part, by key, once the backbone returns only the maps ``used``."""
    several = isinstance(part.node.get('in_channels'), (list, tuple))
    if part.by_index:
        index = [used.index(i) for i in part.maps]
        return {f'{part.path}.in_index': index if several else index[0]}
    if isinstance(part.node.get('in_channels'), int):
        return {}
    lines = {f'{part.path}.in_channels': [found.channels[i] for i in part.used]}
    lines.update({f'{part.path}.start_level': 0} if part.node.get('start_level') else {})
    last = part.node.get('end_level', -1)
    lines.update({f'{part.path}.end_level': -1} if last != -1 else {})
    return lines


def _finds_unused(cfg: Config) -> bool:
    """Whether parameters may lack a gradient, by the rules of Runner.wrap_model."""
    wrapper = cfg.get('model_wrapper_cfg')
    if wrapper is None:
        return bool(cfg.get('find_unused_parameters'))
    given = 'type' not in wrapper or 'DistributedDataParallel' in type_name(wrapper)
    return not given or bool(wrapper.get('find_unused_parameters') or wrapper.get('static_graph'))


def _compare(found: Maps, part: Input) -> None:
    given, channels = part.node['in_channels'], [found.channels[i] for i in part.maps]
    if (list(given) if isinstance(given, (list, tuple)) else [given]) != channels:
        shown = given[0] if isinstance(given, (list, tuple)) and len(given) == 1 else given
        raise RecipeError(
            f'{found.model_path}.{part.path}.in_channels={shown}, but {found.path} '
            f'with channels {list(found.widths)} returns {channels}; set in_channels to that'
        )
