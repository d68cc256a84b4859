# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/runs/rates.py: the groups' rates are those that a run trains with."""

import pytest
from fixtures import MASK_RCNN
from mmengine.config import Config

from mmconvnext.analysis.runs.rates import is_flat, rates
from mmconvnext.registry import OPTIM_WRAPPER_CONSTRUCTORS

ARCH = dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64])


def config(**wrapper):
    """A small detector."""
    head = dict(type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1)
    head.update(anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[1], strides=[4]))
    model = dict(type='RetinaNet', bbox_head=head, neck=None, train_cfg=None, test_cfg=None)
    model['backbone'] = dict(type='mmconvnext.ConvNeXt', arch=ARCH, out_indices=(0, 1, 2, 3))
    optimizer = dict(type='AdamW', lr=0.004, weight_decay=0.05)
    wrapper = dict(type='AmpOptimWrapper', optimizer=optimizer, **wrapper)
    return Config(dict(default_scope='mmdet', model=model, optim_wrapper=wrapper))


OURS = 'mmconvnext.LayerDecayOptimWrapperConstructor'


def test_factors_are_those_of_the_groups(monkeypatch):
    found = rates(config(constructor=OURS, paramwise_cfg=dict(decay_rate=0.5, head_lr_mult=2)))
    # Of 8 depths, lowest first; heads have the depth of the output norms.
    assert found[0].factor < 0.02 and found[-1].factor == 2 and found[-2].factor == 1
    assert [rate.factor for rate in found] == sorted(rate.factor for rate in found)
    assert found[0].depths == (0, 0) and found[-1].depths[1] == found[-2].depths[1]
    ratios = {b.factor / a.factor for a, b in zip(found, found[1:])}
    assert all(abs(ratio % 2) < 1e-6 or abs(ratio % 2 - 2) < 1e-6 for ratio in ratios)
    # The same as the groups that training builds.
    kind = OPTIM_WRAPPER_CONSTRUCTORS.get(OURS.partition('.')[2])
    assert len(found) < 10 and hasattr(kind, 'groups')
    total = sum(rate.parameters for rate in found)
    assert total == sum(rate.parameters for rate in rates(config()))


def test_other_constructors_have_no_depths():
    cfg = config(paramwise_cfg=dict(custom_keys={'bbox_head': dict(lr_mult=0.25)}))
    assert [(rate.factor, rate.depths) for rate in rates(cfg)] == [(0.25, None), (1, None)]


def test_one_rate():
    (rate,) = rates(config())
    assert rate.factor == 1


def test_flat_configs_are_known_without_building():
    assert is_flat(config()) and is_flat(Config({}))
    assert not is_flat(config(paramwise_cfg=dict(bias_lr_mult=2)))
    assert not is_flat(config(constructor=OURS))


def test_the_config_is_not_changed_and_nothing_is_logged(log_records):
    cfg = config(constructor=OURS, paramwise_cfg=dict(decay_rate=0.5))
    before = cfg.pretty_text
    rates(cfg)
    assert cfg.pretty_text == before
    assert not [r for r in log_records if 'Learning rates' in r.getMessage()]


def test_a_recipe(load):
    found = rates(load(MASK_RCNN))
    # 0.95 to the power of 13 is the stem's factor: 12 blocks' groups and the heads.
    assert found[0].factor == pytest.approx(0.95**7, rel=1e-6) and found[-1].factor == 1
    assert sum(rate.parameters for rate in found) == 48095376
