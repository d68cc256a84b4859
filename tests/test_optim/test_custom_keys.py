# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: keys that change a whole backbone are named in the log, others are not, and the line
that undoes them works.
"""

import re

import pytest
import torch
from mmengine import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmconvnext.models import ConvNeXt
from mmconvnext.models.layers import GlobalResponseNorm
from mmconvnext.optim.custom_keys import whole_backbones
from mmconvnext.optim.walk import walk


class Detector(nn.Module):
    def __init__(self, version: str = 'v1') -> None:
        super().__init__()
        arch = dict(depths=(1, 1, 2, 1), channels=[4, 8, 12, 16])
        self.backbone = ConvNeXt(arch, version)
        self.head = nn.Conv2d(16, 1, 1)


class Nested(nn.Module):
    """Like mmdet's semi-supervised detectors."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Detector()
        self.detector = Detector('v2')


def lines_of(model: nn.Module, custom_keys: dict) -> list[str]:
    places = [place for place in walk(model) if place.param.requires_grad]
    return whole_backbones(places, custom_keys, {})


TENTH = dict(lr_mult=0.1)
RATE = 'times the learning rate'
DECAY = 'times the weight decay, also of norms and biases'


@pytest.mark.parametrize(
    ('custom_keys', 'expected'),
    [
        ({'backbone': TENTH}, f"backbone 0.1 {RATE} (69 tensors, key 'backbone'); if they"),
        ({'backbone.': TENTH}, f"backbone 0.1 {RATE} (69 tensors, key 'backbone.'); if they"),
        ({'bone': dict(lr_mult=0)}, f"backbone 0 {RATE} (69 tensors, key 'bone'); if they"),
        ({'': dict(lr_mult=2)}, f"backbone 2 {RATE} (69 tensors, key ''); if they"),
        ({'backbone': dict(decay_mult=0)}, f'backbone 0 {DECAY} (69 tensors, '),
        ({'backbone': dict(decay_mult=1.0)}, f'backbone 1 {DECAY} (69 tensors, '),
        (
            {'backbone': dict(lr_mult=0.1, decay_mult=1.0)},
            f'backbone 0.1 {RATE} and 1 {DECAY} (69 ',
        ),
        ({'backbone': dict(lr=1e-5)}, "backbone lr=1e-05 (69 tensors, key 'backbone'); if they"),
        # All but the output norms, as configs for Swin have it.
        (
            {'backbone': TENTH, 'backbone.norm': dict(decay_mult=0.0)},
            f"backbone 0.1 {RATE} (61 tensors, key 'backbone'), 0 {DECAY} "
            "(8 tensors, key 'backbone.norm'); if they",
        ),
        (
            {'backbone': TENTH, 'backbone.norm': {}},
            f"backbone 0.1 {RATE} (61 tensors, key 'backbone'); if they",
        ),
        # No key alone matches all, but each part has its own.
        (
            {'stages': TENTH, 'downsample_layers': dict(lr_mult=0.2)},
            f"backbone 0.1 {RATE} (45 tensors, key 'stages'), 0.2 {RATE} (16 tensors",
        ),
        ({'weight': TENTH}, f"backbone 0.1 {RATE} (32 tensors, key 'weight'); if they"),
    ],
    ids=str,
)
def test_keys_of_a_whole_backbone_are_named(custom_keys, expected):
    (line,) = lines_of(Detector(), custom_keys)
    assert line.removeprefix('custom_keys give ').startswith(expected)


@pytest.mark.parametrize(
    'custom_keys',
    [
        {},
        {'backbone': {}},
        {'backbone': dict(lr_mult=1.0)},
        {'head': TENTH},
        {'backbone.stages': TENTH},
        {'stages.2': TENTH, 'stages.3': TENTH},
        {'norm': dict(decay_mult=0.0), 'bias': TENTH, 'gamma': TENTH},
        {'backbone': TENTH, 'backbone.stages.2': {}},  # a part is left alone
        {'model.backbone': TENTH},
    ],
    ids=str,
)
def test_other_keys_are_not(custom_keys):
    assert lines_of(Detector(), custom_keys) == []


def test_each_backbone_has_its_line_and_its_place_in_the_model():
    both = lines_of(Nested(), {'backbone': TENTH})
    assert [line.split()[2] for line in both] == ['model.backbone', 'detector.backbone']
    (line,) = lines_of(Nested(), {'detector.backbone': TENTH})
    assert f"detector.backbone 0.1 {RATE} (74 tensors, key 'detector.b" in line
    (line,) = lines_of(Nested(), {'model.backbone': TENTH})
    assert line.startswith('custom_keys give model.backbone ')
    (line,) = lines_of(ConvNeXt(dict(depths=[1], channels=[4]), out_indices=0), {'': TENTH})
    assert line.startswith(f'custom_keys give ConvNeXt 0.1 {RATE}')


def test_only_what_is_trained_counts():
    model = Detector()
    model.backbone.downsample_layers.requires_grad_(False)
    (line,) = lines_of(model, {'stages': TENTH})
    assert '(45 tensors' in line
    model.backbone.requires_grad_(False)
    assert lines_of(model, {'backbone': TENTH}) == []
    model.backbone.norm0.requires_grad_()  # no weight
    assert lines_of(model, {'backbone': TENTH}) == []


def test_scales_of_any_shape_are_left_out():
    """GRN's parameters are (1, 1, 1, C) in Meta's code: no key has to name them."""
    model = Detector('v2')
    for module in model.modules():
        if isinstance(module, GlobalResponseNorm):
            for name in ('gamma', 'beta'):
                shaped = getattr(module, name).detach().reshape(1, 1, 1, -1)
                setattr(module, name, nn.Parameter(shaped))
    assert len(lines_of(model, {'weight': TENTH})) == 1
    assert lines_of(model, {'grn': TENTH}) == lines_of(model, {'gamma': TENTH}) == []


def test_shards_count_as_what_they_are():
    model = Detector()
    shapes = {}
    for module in model.modules():
        for name, param in list(module.named_parameters(recurse=False)):
            shard = nn.Parameter(param.detach().flatten())
            setattr(module, name, shard)
            shapes[id(shard)] = param.shape
    assert len(whole_backbones(list(walk(model)), {'weight': TENTH}, shapes)) == 1
    assert whole_backbones(list(walk(model)), {'bias': TENTH}, shapes) == []


BASE = """
optim_wrapper = dict(
    constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.5, custom_keys={keys!r}))
"""


def built(model: nn.Module, config: Config) -> dict:
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'], group['weight_decay'])
        for group in build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
        for param in group['params']
    }


@pytest.mark.parametrize(
    'keys',
    [
        {'backbone': dict(lr_mult=0.1, decay_mult=1.0)},
        {'backbone.': dict(decay_mult=0.0)},
        {'': dict(lr_mult=0.1)},
        {
            'backbone': dict(lr_mult=0.1),
            'backbone.norm': dict(lr_mult=0.1, decay_mult=0.0),
            'backbone.stages.2.0.gamma': dict(lr_mult=0.3),
        },
    ],
    ids=str,
)
def test_the_line_takes_them_back_through_a_merge_of_configs(keys, tmp_path, log_records):
    (tmp_path / 'base.py').write_text(BASE.format(keys=keys))
    model = Detector()
    plain = built(model, Config.fromstring(BASE.format(keys={}), '.py'))
    log_records.clear()
    assert built(model, Config.fromfile(tmp_path / 'base.py')) != plain
    (line,) = [x for x in log_records[0].getMessage().splitlines() if x.startswith('custom_keys ')]
    line = re.search(r'custom_keys=\{.*\}$', line).group()
    (tmp_path / 'leaf.py').write_text(
        f"_base_ = 'base.py'\noptim_wrapper = dict(paramwise_cfg=dict({line}))\n"
    )
    log_records.clear()
    leaf = Config.fromfile(tmp_path / 'leaf.py')
    assert built(model, leaf) == plain
    assert 'from custom_keys' not in log_records[0].getMessage()
    (tmp_path / 'dumped.py').write_text(leaf.pretty_text)
    assert built(model, Config.fromfile(tmp_path / 'dumped.py')) == plain


def test_deleting_what_no_base_has_is_refused(tmp_path):
    (tmp_path / 'base.py').write_text(BASE.format(keys={'backbone': dict(lr_mult=0.1)}))
    (tmp_path / 'leaf.py').write_text(
        "_base_ = 'base.py'\n"
        "optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'bone': dict(_delete_=True)}))\n"
    )
    match = r"custom_keys\['bone'\] has the key '_delete_', but no base config has this entry"
    with pytest.raises(ValueError, match=match):
        built(Detector(), Config.fromfile(tmp_path / 'leaf.py'))


def test_command_line_takes_them_back(tmp_path):
    (tmp_path / 'base.py').write_text(BASE.format(keys={'backbone': dict(lr_mult=0.1)}))
    model, config = Detector(), Config.fromfile(tmp_path / 'base.py')
    config.merge_from_dict({'optim_wrapper.paramwise_cfg.custom_keys.backbone._delete_': True})
    result = built(model, config)
    assert result['backbone.norm3.weight'] == (1e-3, 0.0)
    assert torch.isclose(torch.tensor(result['backbone.stages.3.0.gamma'][0]), torch.tensor(5e-4))
