# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What tensors do not tell: the epsilon and the activation a network was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .errors import CheckpointMismatch
from .structure import EMPTY
from .tables import Format

PAPER = dict(norm_eps=1e-6, act='GELU')  # Meta's code, and every format's default
# timm/models/convnext.py, by the channels of the stages; OpenCLIP has its xxlarge from there.
TIMM = {
    (384, 768, 1536, 3072): dict(norm_eps=1e-5),  # convnext_xxlarge
    (24, 32, 48, 64): dict(norm_eps=1e-5, act='GELU_tanh'),  # test_convnext
    (32, 64, 96, 128): dict(norm_eps=1e-5, act='GELU_tanh'),  # test_convnext2
}
TIMM_KERNELS = [7, 5, 5, 3]  # test_convnext3, which has the channels of test_convnext2
TIMM_SIMPLE_NORM = (32, 64, 128, 256)  # convnext_zepto_rms and convnext_zepto_rms_ols
# Names of transformers (hidden_act) and timm (act_layer): names of Design.act.
ACTIVATIONS = {
    **{'gelu': 'GELU', 'gelu_tanh': 'GELU_tanh', 'gelu_new': 'GELU_tanh'},
    **{'gelu_pytorch_tanh': 'GELU_tanh', 'relu': 'ReLU', 'silu': 'SiLU', 'swish': 'SiLU'},
}


def trained_with(
    row: Format, channels: tuple[int, ...], config: Mapping, design: Mapping = EMPTY
) -> dict:
    """Epsilon and activation of weights in the format ``row``, with Design's names and values.

    Args:
        row: the format.
        channels: of the stages.
        config: what the ``config.json`` beside the file says, or nothing.
        design: what the tensors say, see :func:`.structure.design_of`.

    Raises:
        CheckpointMismatch: an activation or a norm that we do not have.
    """
    known = dict(PAPER)
    if row.name.startswith('timm'):
        known.update(TIMM.get(channels, {}))
        if design.get('kernel_size') == TIMM_KERNELS:
            known.update(norm_eps=1e-5, act='SiLU')
        if design.get('norm') == 'SimpleNorm' and channels != TIMM_SIMPLE_NORM:
            raise CheckpointMismatch(
                "the norms have no bias, as timm's RMSNorm, which this package does not have; "
                f"SimpleNorm, which it has, is that of timm's zepto, of channels {TIMM_SIMPLE_NORM}"
            )
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


def config_beside(path: Path) -> dict:
    """The ``config.json`` that Hugging Face repositories have beside their weights, or nothing."""
    file = (path if path.is_dir() else path.parent) / 'config.json'
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
