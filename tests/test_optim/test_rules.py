# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: rates and decays are mmengine's, whatever the shape of a shard."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmconvnext.models.layers import GlobalResponseNorm
from mmconvnext.optim.rules import DECAY_OPTIONS, custom_key, decay_factor, is_flat, rate_factor
from mmconvnext.optim.walk import shell, walk

LR, DECAY = 1e-2, 0.1


class Plain(nn.Module):
    """A parameter of each kind that mmengine's options distinguish."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.one_class = nn.Conv2d(4, 1, 1)
        self.linear = nn.Linear(4, 4)
        self.norms = nn.ModuleList(
            [nn.BatchNorm2d(4), nn.LayerNorm(4), nn.LayerNorm((4, 2, 2)), nn.GroupNorm(2, 4)]
        )
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.recurrent = nn.LSTM(4, 4)
        self.embedding = nn.Embedding(3, 4)
        self.act = nn.PReLU(4)
        self.grn = GlobalResponseNorm(4)
        self.level_embed = nn.Parameter(torch.rand(3, 4))
        self.temperature = nn.Parameter(torch.rand(4))
        self.scale = nn.Parameter(torch.tensor(1.0))  # as mmdet's Scale: no dimension, decayed
        self.conv_offset = nn.Conv2d(4, 2, 1)  # no offsets: it is in no deformable convolution
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


class WithOffsets(Plain):
    def __init__(self) -> None:
        ops = pytest.importorskip('mmcv.ops')
        super().__init__()
        self.deformable = ops.ModulatedDeformConv2dPack(4, 4, 3, padding=1)
        self.deformable.stranger = nn.Linear(4, 4)
        self.deformable.conv_offset_norm = nn.GroupNorm(2, 4)  # nor is a norm of that name
        self.first = ops.DeformConv2dPack(4, 4, 3, padding=1)


def theirs(model: nn.Module, options: dict) -> dict:
    cfg = dict(optimizer=dict(type='SGD', lr=LR, weight_decay=DECAY), paramwise_cfg=dict(options))
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'], group['weight_decay'])
        for group in build_optim_wrapper(model, cfg).optimizer.param_groups
        for param in group['params']
    }


def ours(model: nn.Module, options: dict, shapes: dict | None = None) -> dict:
    """With mmengine's defaults, not ours: options that are not given are None."""
    result, options = {}, {**dict.fromkeys(DECAY_OPTIONS), **options}
    for place in walk(model):
        if place.param.requires_grad:
            shape = (shapes or {}).get(place.name, place.param.shape)
            keys = options.get('custom_keys', {})
            custom = keys.get(custom_key(place.name, keys), {})
            lr = LR * custom.get('lr_mult', rate_factor(place, options))
            decay = DECAY * custom.get('decay_mult', decay_factor(place, options, shape))
            result[place.name] = lr, decay
    return result


OPTIONS = [
    dict(norm_decay_mult=0.5),
    dict(bias_decay_mult=0.5),
    dict(dwconv_decay_mult=0.5),
    dict(flat_decay_mult=0.5),
    dict(bias_lr_mult=2.0),
    dict(dcn_offset_lr_mult=0.1),
    dict(bias_lr_mult=0.0, dcn_offset_lr_mult=None, norm_decay_mult=None, bias_decay_mult=3.0),
    dict(norm_decay_mult=None, dwconv_decay_mult=0.25, flat_decay_mult=0.125),
    dict(
        norm_decay_mult=0.5,
        bias_decay_mult=0.25,
        dwconv_decay_mult=0.125,
        flat_decay_mult=0.0,
        bias_lr_mult=2.0,
        dcn_offset_lr_mult=0.1,
    ),
    dict(
        norm_decay_mult=0.0,
        bias_lr_mult=2.0,
        custom_keys={
            'conv': dict(lr_mult=0.5, decay_mult=0.5),
            'norms.1': dict(lr_mult=0.1, decay_mult=0.1),
            'norms': dict(lr_mult=0.2, decay_mult=0.2),
            'linear.bias': dict(lr_mult=3.0, decay_mult=0.0),
            'act.w': dict(lr_mult=4.0, decay_mult=4.0),
            'weight': dict(lr_mult=5.0, decay_mult=5.0),
            'epthwi': dict(lr_mult=6.0, decay_mult=6.0),
            'depthw': dict(lr_mult=7.0, decay_mult=7.0),
        },
    ),
]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize('kind', [Plain, WithOffsets])
@pytest.mark.parametrize('wrap', [lambda m: m, shell], ids=['plain', 'wrapped'])
def test_options_are_mmengines(kind, options, wrap):
    model = kind()
    expected = theirs(model, options)
    assert ours(wrap(model), options) == {
        name: pytest.approx(values) for name, values in expected.items()
    }
    assert len(set(expected.values())) > 1 or 'dcn_offset_lr_mult' in options


def test_offsets_are_found_in_wrappers():
    model = WithOffsets()
    options = dict(dcn_offset_lr_mult=0.1, bias_decay_mult=0.5, flat_decay_mult=0.5)
    expected = ours(model, options)
    assert expected['deformable.conv_offset.bias'] == (pytest.approx(0.1 * LR), DECAY)
    model.deformable.conv_offset = shell(model.deformable.conv_offset)
    model.deformable = shell(model.deformable)
    assert ours(model, options) == expected


@pytest.mark.parametrize('shard', ['flattened', 'half', 'empty'])
def test_shards_are_what_their_parameter_is(shard):
    """A shard has one dimension; the module's type and name decide, or else the shape that the
    wrapper keeps."""
    model = WithOffsets()
    options = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0)
    expected = ours(model, options)
    untold = {'level_embed', 'scale', 'attention.bias_k', 'attention.bias_v'}
    shapes = {name: model.get_parameter(name).shape for name in untold}
    cut = dict(flattened=slice(None), half=slice(0, 1), empty=slice(0, 0))[shard]
    for module in model.modules():
        for name, param in list(module._parameters.items()):
            if param is not None:
                flat = param.detach().flatten()[cut]
                module._parameters[name] = nn.Parameter(flat, param.requires_grad)
    assert ours(model, options, shapes) == expected


@pytest.mark.parametrize('name', ['gamma', 'beta', 'layer_scale', 'layer_scale_parameter'])
@pytest.mark.parametrize('shape', [(4,), (4, 1, 1), (1, 1, 1, 4)], ids=str)
def test_scales_of_any_shape_are_flat_in_a_backbone(name, shape):
    holder = nn.Module()
    holder.register_parameter(name, nn.Parameter(torch.ones(shape)))
    (outside,) = walk(holder)
    (inside,) = walk(holder, backbone=holder)
    for options in ({}, dict(dwconv_decay_mult=0.5)):
        assert decay_factor(inside, options, torch.Size(shape)) == 0.0
        assert decay_factor(outside, options, torch.Size(shape)) == float(len(shape) > 1)


def test_weights_are_told_by_kind_and_name():
    shard = torch.Size([9])
    assert not is_flat(nn.Linear(3, 3), 'weight_orig', shard)  # as pruning calls it
    assert not is_flat(nn.LSTM(3, 3), 'weight_ih_l0', shard)
    assert is_flat(nn.LSTM(3, 3), 'bias_ih_l0', shard)
    assert is_flat(nn.LayerNorm(3), 'weight', torch.Size([3]))
    assert is_flat(nn.PReLU(3), 'weight', torch.Size([3]))


def test_flat_parameter_of_a_usual_layer_that_is_not_its_weight():
    class Scaled(nn.Linear):
        pass

    assert is_flat(Scaled(2, 2), 'scale', torch.Size([2]))


@pytest.mark.parametrize('shard', [slice(None), slice(0, 1), slice(0, 0)], ids=str)
def test_outside_of_backbones_biases_and_one_dimension_have_no_decay(shard):
    """As with mmdet's constructor, which ignores the type of the module."""
    model = WithOffsets()
    model.table = nn.Module()
    model.table.bias = nn.Parameter(torch.rand(2, 2))
    expected = {
        name: float(param.ndim != 1 and not name.endswith('.bias'))
        for name, param in model.named_parameters()
    }
    assert expected['norms.2.weight'] == 1.0  # normalizes three dimensions
    assert expected['deformable.conv_offset.bias'] == expected['table.bias'] == 0.0
    shapes = {name: param.shape for name, param in model.named_parameters()}
    # Cases that neither the module's type nor the shard's name decides.
    untold = {'level_embed', 'scale', 'attention.bias_k', 'attention.bias_v', 'norms.2.weight'}
    for module in model.modules():
        for name, param in list(module._parameters.items()):
            if param is not None:
                module._parameters[name] = nn.Parameter(param.detach().flatten()[shard])
    for place in walk(model):
        shape = shapes[place.name] if place.name in untold else place.param.shape
        assert decay_factor(place, {}, shape) == expected[place.name], place.name


def test_in_a_backbone_norms_have_no_decay_either():
    model = WithOffsets()
    for place in walk(model, backbone=model):
        spared = place.param.ndim == 1 or place.own == 'bias' or place.name == 'norms.2.weight'
        assert decay_factor(place, {}, place.param.shape) == float(not spared), place.name


def test_longest_key_wins_then_the_first_of_the_alphabet():
    keys = ('bb', 'ab', 'abb', 'bbc', 'other')
    assert custom_key('x.abbc.y', keys) == 'abb'
    assert custom_key('x.ab.bb', keys) == 'ab'
    assert custom_key('x.b', keys) is None
    assert custom_key('x.b', ('b', '')) == 'b'
    assert custom_key('x.y', ('b', '')) == ''
