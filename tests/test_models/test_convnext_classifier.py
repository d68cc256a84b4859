# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: with ``gap_before_final_norm`` the backbone gives a classifier's exact logits."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmconvnext.models import ConvNeXt


def randomize(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.3)
    return model


def raw_maps(model: ConvNeXt, x: Tensor) -> list[Tensor]:
    maps = []
    for downsample, stage in zip(model.downsample_layers, model.stages):
        x = stage(downsample(x))
        maps.append(x)
    return maps


def metas_logits(model: ConvNeXt, head: nn.Linear, x: Tensor) -> Tensor:
    """What facebookresearch/ConvNeXt computes after the stages, models/convnext.py: mean over the
    pixels, layer norm of (N, C), linear. mmpretrain's backbone and head do the same.
    """
    pooled = raw_maps(model, x)[-1].flatten(2).mean(2)
    centred = pooled - pooled.mean(1, keepdim=True)
    deviation = (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    return F.linear(centred / deviation * model.norm3.weight + model.norm3.bias, *head.parameters())


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_logits_are_metas_and_a_pooling_neck_over_maps_gives_others(version, tiny_arch):
    model = randomize(ConvNeXt(tiny_arch, version, out_indices=-1, gap_before_final_norm=True))
    dense = ConvNeXt(tiny_arch, version, out_indices=-1)
    dense.load_state_dict(model.state_dict())
    head, x = randomize(nn.Linear(64, 10)), torch.randn(3, 3, 70, 96)
    expected = metas_logits(model, head, x)
    (features,) = model(x)
    assert features.shape == (3, 64) and features.is_contiguous()
    torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-4)
    (maps,) = dense(x)
    assert maps.shape == (3, 64, 2, 3)
    assert (head(maps.mean((2, 3))) - expected).abs().max() > 1e-3


def test_every_out_index_is_pooled_with_its_own_norm(tiny_arch):
    model = randomize(ConvNeXt(tiny_arch, out_indices=(3, 1), gap_before_final_norm=True))
    assert model.out_channels == (64, 16) and model.out_strides == (32, 8)
    x = torch.randn(2, 3, 64, 64)
    maps = raw_maps(model, x)
    for i, found in zip((3, 1), model(x), strict=True):
        norm = getattr(model, f'norm{i}')
        expected = F.layer_norm(
            maps[i].mean((2, 3)), maps[i].shape[1:2], norm.weight, norm.bias, 1e-6
        )
        torch.testing.assert_close(found, expected)


def test_compiled_it_computes_the_same(tiny_arch):
    model = randomize(ConvNeXt(tiny_arch, out_indices=-1, gap_before_final_norm=True)).eval()
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(torch.compile(model, backend='eager')(x), model(x))


def test_frozen_it_keeps_the_norms_of_frozen_stages(tiny_arch):
    model = ConvNeXt(tiny_arch, gap_before_final_norm=True, frozen_stages=2)
    frozen = {name.partition('.')[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert {'norm0', 'norm1'} <= frozen and not {'norm2', 'norm3'} & frozen


@pytest.mark.parametrize('place', ['norm', 'norm3 of mmpretrain'])
@pytest.mark.parametrize('entrance', ['init_cfg', 'load_state_dict'])
def test_the_classifiers_norm_is_its_norm_by_itself(entrance, place, tiny_arch, tmp_path):
    peer = randomize(ConvNeXt(tiny_arch, out_indices=-1))
    weights = dict(peer.state_dict())
    if place == 'norm':
        for part in ('weight', 'bias'):
            weights[f'norm.{part}'] = weights.pop(f'norm3.{part}')
    else:
        names = (('dwconv', 'depthwise_conv'), ('pwconv', 'pointwise_conv'))
        for ours, theirs in names:
            weights = {k.replace(ours, theirs): v for k, v in weights.items()}
    weights['head.weight' if place == 'norm' else 'head.fc.weight'] = torch.ones(10, 64)
    torch.save(weights, tmp_path / 'classifier.pth')
    for options, taken in ((dict(gap_before_final_norm=True), True), (dict(), False)):
        init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'classifier.pth'))
        model = ConvNeXt(
            tiny_arch, **options, init_cfg=init_cfg if entrance == 'init_cfg' else None
        )
        if entrance == 'init_cfg':
            model.init_weights()
        else:
            model.load_state_dict(weights)
        assert torch.equal(model.norm3.weight, peer.norm3.weight) == taken
        assert (model.norm2.weight == 1).all()


def test_weights_without_that_norm_still_load(tiny_arch):
    weights = ConvNeXt(tiny_arch).state_dict()
    weights = {name: value for name, value in weights.items() if name[:4] != 'norm'}
    ConvNeXt(tiny_arch, gap_before_final_norm=True).load_state_dict(weights)
    model = ConvNeXt(tiny_arch, gap_before_final_norm=True, out_indices=2)  # has no last norm
    model.load_state_dict({**weights, 'norm.weight': torch.ones(64), 'norm.bias': torch.ones(64)})
