# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: accepted arguments give the same maps as in the package that they were written for."""

import re

import pytest
import torch
from torch import nn

from mmconvnext import lenient_loading
from mmconvnext.models import ConvNeXt

SIZE = dict(depths=[1, 1, 2, 1], hidden_sizes=[8, 16, 32, 64])


@pytest.mark.parametrize(
    ('version', 'arguments'),
    [
        ('v1', dict(num_channels=4, patch_size=2, hidden_act='relu')),
        ('v1', dict(num_stages=4, out_features=['stage2', 'stage4'], layer_scale_init_value=0.5)),
        ('v1', dict(hidden_act='gelu_new', layer_scale_init_value=0.0)),
        ('v2', dict(num_channels=2, hidden_act='swish', out_features=['stage1'])),
        ('v2', dict(patch_size=(4, 4), hidden_act='gelu', drop_path_rate=0.5)),
    ],
)
def test_transformers(version, arguments):
    transformers = pytest.importorskip('transformers')
    kind = {'v1': 'ConvNext', 'v2': 'ConvNextV2'}[version]
    all_stages = dict(out_features=[f'stage{i}' for i in (1, 2, 3, 4)])
    config = getattr(transformers, f'{kind}Config')(**{**all_stages, **SIZE, **arguments})
    theirs = getattr(transformers, f'{kind}Backbone')(config).eval()
    for param in theirs.parameters():
        nn.init.normal_(param, std=0.3)
    ours = ConvNeXt(version=version, **SIZE, **arguments).eval()
    with lenient_loading():  # files under these names are published with GELU alone
        ours.load_state_dict(theirs.state_dict())
    image = torch.randn(1, config.num_channels, 64, 64)
    with torch.no_grad():
        expected = theirs(image).feature_maps
        maps = ours(image)
    assert len(maps) == len(expected) == len(config.out_features)
    for a, b in zip(maps, expected):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('linear_pw_conv', [True, False])
def test_weights_of_either_pointwise_layer_load(linear_pw_conv, tiny_arch):
    """mmpretrain has matrices with True, and 1x1 filters with False."""
    trained = ConvNeXt(tiny_arch, layer_scale_init_value=0.5)
    names = {
        r'\.dwconv\.': '.depthwise_conv.',
        r'\.pwconv(.)\.': r'.pointwise_conv\1.',
    }
    theirs = {}
    for name, tensor in trained.state_dict().items():
        for ours, mmpretrain in names.items():
            name = re.sub(ours, mmpretrain, name)
        filters = not linear_pw_conv and re.search('pointwise.*weight', name)
        theirs[f'backbone.{name}'] = tensor[:, :, None, None] if filters else tensor
    assert {tensor.ndim for name, tensor in theirs.items() if 'pointwise_conv1.weight' in name} == {
        2 if linear_pw_conv else 4
    }
    ported = ConvNeXt(tiny_arch, linear_pw_conv=linear_pw_conv)
    ported.load_state_dict(theirs)
    image = torch.randn(1, 3, 64, 64)
    for a, b in zip(ported.eval()(image), trained.eval()(image)):
        assert torch.equal(a, b)


@pytest.mark.parametrize(('eps', 'expected'), [(None, 1e-5), (1e-6, 1e-6), (1e-3, 1e-3)])
def test_the_epsilon_is_the_one_in_force_there(eps, expected, tiny_arch):
    """``dict(type='LN2d')`` builds a subclass of torch's LayerNorm without giving the epsilon."""
    norm_cfg = dict(type='LN2d') if eps is None else dict(type='LN2d', eps=eps)
    backbone = ConvNeXt(tiny_arch, norm_cfg=norm_cfg)
    norms = [module for module in backbone.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) > 8 and {norm.eps for norm in norms} == {expected}
    assert eps is not None or nn.LayerNorm(8).eps == expected
