# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""rates.py: the rates of both sides are compared parameter by parameter."""

import pytest
import torch
from torch import nn

from mmconvnext import ConvNeXt
from mmconvnext.migrate.notes import Notes
from mmconvnext.migrate.optimizer import renew_constructor
from mmconvnext.migrate.rates import compare, rates_of

OPTIMIZER = dict(type='AdamW', lr=1e-3, weight_decay=0.05)


class Detector(nn.Module):
    """A backbone with a head, named as constructors expect."""

    def __init__(self, **arguments):
        super().__init__()
        with torch.device('meta'):
            self.backbone = ConvNeXt(**arguments)
            self.head = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))


def both(model, constructor, **paramwise):
    """The rates of the old constructor, and of ours after the migration."""
    before = dict(optimizer=OPTIMIZER, constructor=constructor, paramwise_cfg=paramwise)
    cfg = dict(optim_wrapper={**before, 'paramwise_cfg': dict(paramwise)})
    renew_constructor(cfg, model.backbone.arch.depths, False, Notes())
    return [rates_of(model, wrapper, 'mmdet') for wrapper in (before, cfg['optim_wrapper'])]


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
@pytest.mark.parametrize(('arch', 'num_layers'), [('tiny', 6), ('small', 12)])
def test_fixed_rules_are_kept_exactly(scope, decay_type, arch, num_layers):
    model = Detector(arch=arch)
    constructor = f'{scope}.LearningRateDecayOptimizerConstructor'
    there, here = both(
        model, constructor, decay_rate=0.7, decay_type=decay_type, num_layers=num_layers
    )
    assert len(there) == sum(1 for _ in model.parameters())
    assert compare(there, here) == []


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
        dict(flat_decay_mult=0.0),
        dict(bias_decay_mult=0.5, custom_keys={'stages.0': dict(decay_mult=0.1), 'head': {}}),
    ],
)
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_mmpretrains_rule_is_kept_exactly(options, version):
    model = Detector(arch='tiny', version=version)
    constructor = 'LearningRateDecayOptimWrapperConstructor'
    there, here = both(model, constructor, layer_decay_rate=0.8, **options)
    assert len(there) == sum(1 for _ in model.parameters())
    assert compare(there, here) == []


def test_the_restated_rule_is_mmpretrains():
    """Values worked out by hand from its source for depths (3, 3, 9, 3): 8 groups."""
    wrapper = dict(
        optimizer=OPTIMIZER,
        constructor='LearningRateDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.5, norm_decay_mult=0.0),
    )
    rates = rates_of(Detector(arch='tiny'), wrapper, 'mmdet')
    groups = {
        'downsample_layers.0.0.weight': 7,
        'stages.0.2.dwconv.weight': 6,
        'downsample_layers.1.1.weight': 5,
        'stages.1.0.pwconv1.weight': 5,
        'downsample_layers.2.1.weight': 4,
        'stages.2.2.pwconv1.weight': 4,
        'stages.2.3.pwconv1.weight': 3,
        'stages.2.8.pwconv1.weight': 2,
        'downsample_layers.3.1.weight': 1,
        'stages.3.2.pwconv2.weight': 1,
    }
    for name, steps in groups.items():
        assert rates[f'backbone.{name}'] == pytest.approx((1e-3 * 0.5**steps, 0.05)), name
    assert rates['backbone.norm3.weight'] == pytest.approx((1e-3, 0.0))
    assert rates['head.0.weight'] == pytest.approx((1e-3, 0.05))
    assert rates['backbone.stages.0.0.gamma'] == pytest.approx((1e-3 * 0.5**6, 0.05))


def test_the_restated_rule_has_12_layers_above_nine_blocks():
    wrapper = dict(
        optimizer=OPTIMIZER,
        constructor='LearningRateDecayOptimWrapperConstructor',
        paramwise_cfg=dict(
            layer_decay_rate=0.5,
            flat_decay_mult=0.25,
            custom_keys={'stages': dict(decay_mult=0.0), 'stages.2.9': dict(decay_mult=3.0)},
        ),
    )
    for blocks, last in ((9, 6), (10, 12)):
        model = Detector(arch=dict(depths=[1, 1, blocks, 1], channels=[8, 16, 24, 32]))
        rates = rates_of(model, wrapper, 'mmdet')
        for name, steps in {
            'downsample_layers.0.0.weight': last + 1,
            'stages.2.8.gamma': 0,
        }.items():
            scale = 0.5 ** (steps or last + 1 - 5)
            assert rates[f'backbone.{name}'][0] == pytest.approx(1e-3 * scale), (name, blocks)
    assert rates['backbone.stages.2.9.gamma'] == pytest.approx((1e-3 * 0.5**7, 0.15))
    assert rates['backbone.stages.2.8.gamma'][1] == 0  # the longest key that is in the name wins
    assert rates['backbone.norm3.bias'] == pytest.approx((1e-3, 0.0125))


def test_many_names_are_shortened_and_rounding_is_no_difference():
    names = [f'p{i}' for i in range(5)]
    (line,) = compare(dict.fromkeys(names, (1.0, 0.0)), dict.fromkeys(names, (2.0, 0.0)))
    assert line == 'p0, p1, p2 and 2 more: learning rate 1 before, 2 now'
    (line,) = compare(dict.fromkeys(names[:3], (1.0, 0.5)), dict.fromkeys(names[:3], (2.0, 0.25)))
    assert line == 'p0, p1, p2: learning rate 1 before, 2 now; weight decay 0.5 before, 0.25 now'
    assert compare(dict(a=(1.0, 0.0)), dict(a=(1 + 1e-10, 0.0))) == []
    assert len(compare(dict(a=(1.0, 0.0)), dict(a=(1 + 1e-8, 0.0)))) == 1
    assert len(compare(dict(a=(1.0, 0.0)), dict(a=(1.0, 1e-12)))) == 1


def test_differences_are_gathered_and_told():
    there = dict(a=(1e-3, 0.05), b=(1e-3, 0.05), c=(1e-3, 0.05), d=(1.0, 0.0))
    here = dict(a=(2e-3, 0.05), b=(2e-3, 0.05), c=(1e-3, 0.0), e=(1.0, 0.0))
    assert compare(there, here) == [
        'a, b: learning rate 0.001 before, 0.002 now',
        'c: weight decay 0.05 before, 0 now',
        'e: only trained by the new config',
        'd: only trained by the old config',
    ]


def test_a_wrong_number_of_layers_shows_in_the_rates():
    model = Detector(arch='small')
    constructor = 'mmdet.LearningRateDecayOptimizerConstructor'
    there, here = both(model, constructor, decay_rate=0.95, num_layers=6)
    assert any('stages.2.24' in line and 'learning rate' in line for line in compare(there, here))
