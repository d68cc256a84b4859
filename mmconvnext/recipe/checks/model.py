# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Does what follows the backbone expect its channels, and does somebody apply the decay rate?"""

from __future__ import annotations

from mmengine.config import Config

from ...models.arch import get_arch
from ..errors import RecipeError
from ..walk import backbones


def check_channels(cfg: Config) -> None:
    """The neck, or the heads without a neck, take the channels that the backbone returns.

    Raises:
        RecipeError: they differ, or the backbone's arch is unknown.
    """
    for path, backbone in backbones(cfg):
        try:
            arch = get_arch(backbone.get('arch', 'tiny'), backbone.get('version', 'v1'))
            indices = backbone.get('out_indices')
            indices = range(len(arch.channels)) if indices is None else indices
            indices = [indices] if isinstance(indices, int) else indices
            channels = [arch.channels[i] for i in indices]
        except (ValueError, IndexError) as error:
            raise RecipeError(f'{path}: {error}') from error
        owner = cfg.model
        for key in path.split('.')[1:-1]:  # a backbone may lie in a wrapped detector
            owner = owner[int(key) if isinstance(owner, list) else key]
        neck = owner.get('neck')
        if neck:
            first = neck[0] if isinstance(neck, (list, tuple)) else neck
            _compare(path, arch, channels, 'neck', first.get('in_channels'))
            continue
        for head in ('decode_head', 'auxiliary_head'):
            for node in _as_list(owner.get(head)):
                taken = node.get('in_index', -1)
                taken = taken if isinstance(taken, (list, tuple)) else [taken]
                if any(not -len(channels) <= i < len(channels) for i in taken):
                    raise RecipeError(
                        f'{head}.in_index={node.in_index} asks for a map that the backbone does '
                        f'not return; it returns {len(channels)}'
                    )
                _compare(path, arch, [channels[i] for i in taken], head, node.get('in_channels'))


def check_constructor(cfg: Config) -> list[str]:
    """Warn of a decay rate that no constructor reads: mmengine's own ignores it in silence."""
    wrapper = cfg.get('optim_wrapper') or {}
    decay = {'decay_rate', 'decay_type', 'num_layers'} & set(wrapper.get('paramwise_cfg') or {})
    constructor = str(wrapper.get('constructor', 'DefaultOptimWrapperConstructor'))
    if decay and 'Decay' not in constructor:
        return [
            f'optim_wrapper.paramwise_cfg has {sorted(decay)}, which {constructor} ignores: all '
            'layers would learn at the full rate. Set optim_wrapper.constructor='
            "'mmconvnext.LayerDecayOptimWrapperConstructor'"
        ]
    return []


def _compare(path: str, arch: object, channels: list[int], what: str, given: object) -> None:
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    if given != channels:
        raise RecipeError(
            f'model.{what}.in_channels={given if len(given) > 1 else given[0]}, but {path} '
            f'with channels {list(arch.channels)} returns {channels}; set in_channels to that'
        )


def _as_list(value: object) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value] if value else []
