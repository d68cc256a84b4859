# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Match the network found in a file with a backbone, check the match and report it.

Only ``state_dict()``, ``design`` and ``gap_before_final_norm`` of the backbone are used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from mmengine.logging import print_log
from torch import Tensor, nn

from ..arch import ARCHS
from .errors import CheckpointMismatch
from .formats import Native, Network, listed, to_native
from .match import Match, match_weights
from .numerics import trained_with
from .size import Size
from .structure import EMPTY


def match_backbone(
    backbone: nn.Module,
    network: Network,
    *,
    strict: bool,
    config: Mapping = EMPTY,
    **options: str | None,
) -> Match:
    """Match a network with a backbone; neither is changed.

    Args:
        backbone: a ConvNeXt.
        network: the weights.
        strict: if False, match what fits.
        config: the content of the config.json beside the file, or {}.
        options: ``stem`` and ``classifier_norm`` of :func:`.match.match_weights`.

    Raises:
        CheckpointMismatch: the weights do not fit the backbone.
    """
    own, design = backbone.state_dict(), backbone.design
    native = _native(network, own)
    return match_weights(
        native,
        own,
        ARCHS,
        has_head=network.has_head,
        pooled=backbone.gap_before_final_norm,
        strict=strict,
        trained=_trained(network, Size.of(native.tensors), config),
        built=dict(norm_eps=design.eps, act=design.act, stem=design.stem),
        **options,
    )


def check_whole(match: Match) -> None:
    """Require all weights of a trained backbone.

    Raises:
        CheckpointMismatch: tensors are missing, or something had to be adapted.
    """
    missing = [name for name in match.missing if not name.endswith('.num_batches_tracked')]
    if missing or match.notes:
        faults = [f'missing: {listed(missing)}'] if missing else []
        raise CheckpointMismatch(
            f'the weights do not match the whole backbone; {"; ".join(faults + match.notes)}'
        )


def report(source: str, backbone: nn.Module, network: Network, match: Match, at: str = '') -> str:
    """Log and return one line: how many tensors were loaded, from where, and what was not.

    Args:
        source: a description of the file and its format.
        backbone: the model that was filled.
        network: the network that was found.
        match: what was loaded.
        at: where the backbone is in a larger model.
    """
    line = f'{at} ' if at else ''
    line += f'Loaded {len(match.tensors)} of {len(backbone.state_dict())} tensors from {source}'
    if network.prefix:
        line += f', prefix {network.prefix!r}'
    rest = {'missing (left at initialization)': match.missing, 'dropped': match.dropped}
    for what, names in rest.items():
        modules = dict.fromkeys(re.sub(r'\.(weight|bias)$', '', name) for name in names)
        if modules:
            line += f'; {what}: {listed(modules, 10)}'
    line += ''.join(f'; {note}' for note in match.notes)
    if network.outside:
        count = len(network.outside)
        line += f'; ignored outside of {network.prefix!r}: {count} tensor{"s" * (count > 1)}'
    if match.problem:
        line += f'; NOT STRICT: {match.problem}'
    print_log(line, 'current', logging.WARNING if match.problem else logging.INFO)
    return line


def same_tensor(own: Tensor | None, given: object) -> bool:
    """Whether ``given`` is a tensor of ``own``'s shape, and floating-point if ``own`` is."""
    return (
        isinstance(own, Tensor)
        and isinstance(given, Tensor)
        and own.shape == given.shape
        and own.is_floating_point() == given.is_floating_point()
    )


def _native(network: Network, own: Mapping[str, Tensor]) -> Native:
    """The network's tensors under our names; those of an ablation keep their own."""
    own_names = {}
    if network.row.our_names:
        own_names = {k: v for k, v in network.inside.items() if same_tensor(own.get(k), v)}
    rest = {k: v for k, v in network.inside.items() if k not in own_names}
    native = to_native(rest, network.row)
    native.tensors.update(own_names)
    return native


def _trained(network: Network, size: Size, config: Mapping) -> dict:
    # Weights under our own names may come from an ablation; Meta's classifiers do not.
    published = {'norm.weight', 'head.weight'} <= set(network.inside)
    if network.row.our_names and not published:
        return {}
    return trained_with(network.row, size.channels, config, size.design)
