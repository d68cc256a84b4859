# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What tensors do not tell: the epsilon and the activation a network was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .errors import CheckpointMismatch
from .tables import Format

PAPER = dict(norm_eps=1e-6, act='GELU')  # Meta's code, and every format's default
# timm/models/convnext.py, by the channels of the stages; OpenCLIP has its xxlarge from there.
TIMM = {
    (384, 768, 1536, 3072): dict(norm_eps=1e-5),  # convnext_xxlarge
    (24, 32, 48, 64): dict(norm_eps=1e-5, act='GELU_tanh'),  # test_convnext
    (32, 64, 96, 128): dict(norm_eps=1e-5, act='GELU_tanh'),  # test_convnext2
}
# Names of transformers (hidden_act) and timm (act_layer): names of Design.act.
ACTIVATIONS = {
    **{'gelu': 'GELU', 'gelu_tanh': 'GELU_tanh', 'gelu_new': 'GELU_tanh'},
    **{'gelu_pytorch_tanh': 'GELU_tanh', 'relu': 'ReLU', 'silu': 'SiLU', 'swish': 'SiLU'},
}


def trained_with(row: Format, channels: tuple[int, ...], config: Mapping) -> dict:
    """Epsilon and activation of weights in the format ``row``, with Design's names and values.

    Args:
        row: the format.
        channels: of the stages.
        config: what the ``config.json`` beside the file says, or nothing.

    Raises:
        CheckpointMismatch: the config names an activation that we do not have.
    """
    known = {**PAPER, **(TIMM.get(channels, {}) if row.name.startswith('timm') else {})}
    timm = config.get('model_args')
    timm = timm if isinstance(timm, dict) else {}
    act = config.get('hidden_act', timm.get('act_layer'))
    if isinstance(act, str):
        if act not in ACTIVATIONS:
            raise CheckpointMismatch(
                f'config.json beside the file says activation {act!r}; this package has '
                f'{sorted(set(ACTIVATIONS.values()))}'
            )
        known['act'] = ACTIVATIONS[act]
    # transformers reads layer_norm_eps for the final norm alone in V1 and V2, for all in DINOv3.
    eps = config.get('layer_norm_eps') if row.name == 'hf-dinov3' else timm.get('norm_eps')
    if isinstance(eps, float):
        known['norm_eps'] = eps
    return known


def compare_numerics(known: Mapping, own: Mapping) -> str:
    """What to say if the weights were trained with other than the backbone's design; or ''."""
    wrong = {key: value for key, value in known.items() if own[key] != value}
    if not wrong:
        return ''
    was = ', '.join(f'{key}={value!r}' for key, value in wrong.items())
    has = ', '.join(f'{key}={own[key]!r}' for key in wrong)
    return f'the weights were trained with {was}, the backbone has {has}; set design=dict({was})'


def config_beside(path: Path) -> dict:
    """The ``config.json`` that Hugging Face repositories have beside their weights, or nothing."""
    file = (path if path.is_dir() else path.parent) / 'config.json'
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
