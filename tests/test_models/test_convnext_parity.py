# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: with the same weights, V1 and V2 give the maps and gradients of independent code.

That code is ``ConvNextBackbone`` and ``ConvNextV2Backbone`` of transformers, with random weights,
so that there is nothing to download.
"""

import re

import pytest
import torch
from torch import nn

from mmconvnext.models import ConvNeXt

transformers = pytest.importorskip('transformers')


def transformers_backbone(version: str, depths: list[int], channels: list[int]) -> nn.Module:
    kind = {'v1': 'ConvNext', 'v2': 'ConvNextV2'}[version]
    config = getattr(transformers, f'{kind}Config')(
        depths=depths,
        hidden_sizes=channels,
        num_stages=len(depths),
        out_features=[f'stage{i + 1}' for i in range(len(depths))],
        layer_scale_init_value=1e-6,
    )
    return getattr(transformers, f'{kind}Backbone')(config)


RENAMES = [
    (r'^embeddings\.patch_embeddings\.', 'downsample_layers.0.0.'),
    (r'^embeddings\.layernorm\.', 'downsample_layers.0.1.'),
    (r'^encoder\.stages\.(\d+)\.downsampling_layer\.', r'downsample_layers.\1.'),
    (r'^encoder\.stages\.(\d+)\.layers\.', r'stages.\1.'),
    (r'^hidden_states_norms\.stage(\d+)\.', lambda match: f'norm{int(match[1]) - 1}.'),
    (r'\.layernorm\.', '.norm.'),
    (r'\.layer_scale_parameter$', '.gamma'),
    (r'\.grn\.weight$', '.grn.gamma'),
    (r'\.grn\.bias$', '.grn.beta'),
]


def own_names(tensors: dict) -> dict:
    """A transformers backbone's tensors under our names; GRN's (1, 1, 1, C) become (C,)."""
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, new in RENAMES:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor.reshape(-1) if '.grn.' in name else tensor
    return renamed


def randomize(model: nn.Module) -> nn.Module:
    """Weights with which every parameter has an effect and no map vanishes or explodes."""
    with torch.no_grad():
        for param in model.parameters():
            if param.ndim > 1 and param.shape[:3] != (1, 1, 1):
                param.normal_(std=param[0].numel() ** -0.5)
            else:
                param.normal_(mean=0.5, std=0.3)
    return model


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    assert actual.shape == expected.shape
    return ((actual - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize(
    ('version', 'depths', 'channels', 'shape'),
    [
        (version, *row)
        for version in ('v1', 'v2')
        for row in [
            ([1, 1, 2, 1], [8, 16, 32, 64], (2, 3, 64, 64)),
            ([1, 1, 2, 1], [8, 16, 32, 64], (1, 3, 71, 102)),
            ([1, 1, 2, 1], [8, 16, 32, 64], (2, 3, 97, 35)),
            ([2, 2, 6, 2], [40, 80, 160, 320], (1, 3, 96, 128)),
            ([2, 3, 1], [24, 36, 60], (2, 3, 50, 65)),
        ]
    ],
)
def test_maps_and_gradients_are_those_of_transformers(version, depths, channels, shape):
    reference = randomize(transformers_backbone(version, depths, channels))
    arch = dict(depths=depths, channels=channels)
    model = ConvNeXt(arch, version, out_indices=range(len(depths)))
    model.load_state_dict(own_names(reference.state_dict()))

    results = []
    x = torch.randn(shape)
    weights = None
    for net in (reference, model):
        inputs = x.clone().requires_grad_()
        maps = net(inputs)
        maps = maps if net is model else maps.feature_maps
        weights = weights or [torch.randn_like(m) for m in maps]
        sum((m * w).sum() for m, w in zip(maps, weights, strict=True)).backward()
        results.append((maps, inputs.grad))
    (expected_maps, expected_grad), (maps, grad) = results

    # Measured over three seeds: 0 for V1, at most 5e-7 (maps) and 1.3e-6 (gradients) for V2.
    for i, (actual, expected) in enumerate(zip(maps, expected_maps, strict=True)):
        assert relative_error(actual, expected) < 1e-5, f'map {i}'
    assert relative_error(grad, expected_grad) < 1e-5
    expected_grads = own_names({name: p.grad for name, p in reference.named_parameters()})
    assert set(expected_grads) == {name for name, _ in model.named_parameters()}
    for name, param in model.named_parameters():
        assert relative_error(param.grad, expected_grads[name]) < 1e-5, name
