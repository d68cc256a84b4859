# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The epsilon and activation that a network was trained with; its tensors do not reveal them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .errors import CheckpointMismatch
from .format_spec import Format
from .structure import EMPTY

PAPER = dict(norm_eps=1e-6, act='GELU')  # Meta's code, and every format's default
# transformers' names (hidden_act) and timm's (act_layer) -> names of Design.act.
ACTIVATIONS = {
    **{'gelu': 'GELU', 'gelu_tanh': 'GELU_tanh', 'gelu_new': 'GELU_tanh'},
    **{'gelu_pytorch_tanh': 'GELU_tanh', 'relu': 'ReLU', 'silu': 'SiLU', 'swish': 'SiLU'},
}


def trained_with(
    row: Format, channels: tuple[int, ...], config: Mapping, design: Mapping = EMPTY
) -> dict:
    """The epsilon and activation of a network, as arguments of ``Design``.

    Args:
        row: its format.
        channels: the channels of its stages.
        config: the content of the ``config.json`` beside the file, or {}.
        design: what its tensors reveal, see :func:`.structure.design_of`.

    Raises:
        CheckpointMismatch: an activation or a norm that this package does not have.
    """
    known = dict(PAPER)
    shown = {**design, 'channels': channels}
    for conditions, values in row.trained_with:
        if all(shown.get(key) == value for key, value in conditions.items()):
            known.update(values)
    simple = row.simple_norm_channels
    if simple and design.get('norm') == 'SimpleNorm' and channels != simple:
        raise CheckpointMismatch(
            "the norms have no bias, like timm's RMSNorm, which this package does not have; it "
            f"has SimpleNorm, but that is used only by timm's zepto, with channels {simple}"
        )
    timm = config.get('model_args')
    timm = timm if isinstance(timm, dict) else {}
    act = config.get('hidden_act', timm.get('act_layer'))
    if isinstance(act, str):
        if act not in ACTIVATIONS:
            raise CheckpointMismatch(
                f'config.json beside the file sets the activation {act!r}; this package has '
                f'{sorted(set(ACTIVATIONS.values()))}'
            )
        known['act'] = ACTIVATIONS[act]
    eps = config
    for key in row.config_eps:
        eps = eps.get(key) if isinstance(eps, Mapping) else None
    if isinstance(eps, float):
        known['norm_eps'] = eps
    return known


def config_beside(path: Path) -> dict:
    """The ``config.json`` that Hugging Face repositories have beside their weights, or {}."""
    file = (path if path.is_dir() else path.parent) / 'config.json'
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
