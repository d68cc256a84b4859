# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: old names of layer decay raise errors with lines that mean the same."""

import re

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmconvnext.models import ConvNeXt
from mmconvnext.optim.spellings import TABLE

OURS = 'mmconvnext.LayerDecayOptimWrapperConstructor'


def wrapper(model: nn.Module, constructor: str, **paramwise_cfg):
    optimizer = dict(type='SGD', lr=1.0, weight_decay=0.05)
    return build_optim_wrapper(
        model,
        dict(constructor=constructor, paramwise_cfg=paramwise_cfg, optimizer=optimizer),
    )


def answer(constructor: str, **paramwise_cfg) -> str:
    with pytest.raises(ValueError) as error:
        wrapper(nn.Linear(1, 1), constructor, **paramwise_cfg)
    return str(error.value)


def lines_of(message: str) -> list[dict]:
    found = re.findall(r'paramwise_cfg=(dict\(.*\))$', message, re.MULTILINE)
    return [eval(line, {'dict': dict}) for line in found]


def settings(model: nn.Module, optim_wrapper) -> dict:
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'], group['weight_decay'])
        for group in optim_wrapper.optimizer.param_groups
        for param in group['params']
    }


def in_mmpretrain(name: str, depths, rate: float, custom_keys: dict) -> tuple[float, float]:
    """Rate and weight decay by the rule of mmpretrain 1.2, for a base rate of 1.0."""
    groups = 12 if depths[-2] > 9 else 6
    kind, *words = name.removeprefix('backbone.').split('.')
    if not name.startswith('backbone.') or kind.startswith('norm'):
        depth = groups + 1
    elif words[0] == '3':
        depth = groups
    elif kind == 'downsample_layers':
        depth = (0, 2, 3)[int(words[0])]
    else:
        depth = 3 + int(words[1]) // 3 if words[0] == '2' else int(words[0]) + 1
    keys = sorted((key for key in custom_keys if key in name), key=lambda key: (-len(key), key))
    decay = custom_keys[keys[0]]['decay_mult'] if keys else 1.0
    return rate ** (groups + 1 - depth), 0.05 * decay


class Classifier(nn.Module):
    def __init__(self, depths):
        super().__init__()
        channels = [8, 16, 32, 64]
        self.backbone = ConvNeXt(dict(depths=depths, channels=channels), 'v2')
        self.head = nn.Linear(64, 10)


@pytest.mark.parametrize('depths', [(2, 2, 6, 2), (3, 3, 9, 3), (3, 3, 27, 3)])
@pytest.mark.parametrize('custom_keys', [{}, {'.bias': dict(decay_mult=0.0)}])
def test_the_second_line_is_what_mmpretrain_does(depths, custom_keys):
    model = Classifier(depths)
    options = dict(layer_decay_rate=0.8, **({'custom_keys': custom_keys} if custom_keys else {}))
    plain, full = lines_of(answer(OURS, **options))
    expected = {n: in_mmpretrain(n, depths, 0.8, custom_keys) for n, _ in model.named_parameters()}
    same = settings(model, wrapper(model, OURS, **full))
    assert same == {name: pytest.approx(pair) for name, pair in expected.items()}
    # The first line has the rates, and no weight decay for flat parameters.
    own = settings(model, wrapper(model, OURS, **plain))
    assert {n: lr for n, (lr, _) in own.items()} == {n: lr for n, (lr, _) in same.items()}
    inside = {n: param for n, param in model.named_parameters() if n.startswith('backbone.')}
    assert {n for n in inside if own[n][1]} == {n for n in inside if inside[n].ndim > 1}


def test_the_option_beside_ours():
    message = answer(OURS, layer_decay_rate=0.9, decay_rate=0.7, bias_decay_mult=0.5)
    assert 'layer_decay_rate=0.9 is decay_rate here' in message
    assert lines_of(message)[1]['bias_decay_mult'] == 0.5


@pytest.mark.parametrize('name', [row.name for row in TABLE if row.name[0] == 'L'])
def test_old_names_are_answered(name):
    message = answer(f'mmconvnext.{name}', decay_rate=0.7, num_layers=6)
    assert message.startswith(name) and f"constructor='{OURS}'" in message
    assert lines_of(message)[0]['decay_rate'] == 0.7


def test_mmdets_name():
    message = answer(
        'mmconvnext.LearningRateDecayOptimizerConstructor',
        decay_rate=0.9,
        decay_type='stage_wise',
        num_layers=6,
        custom_keys=dict(backbone=dict(lr_mult=0.1)),
    )
    assert lines_of(message) == [dict(decay_rate=0.9, decay_type='stage_wise')]
    assert "That constructor ignores ['custom_keys']; ours does not" in message


def test_mmsegs_older_name():
    message = answer(
        'mmconvnext.LayerDecayOptimizerConstructor', layer_decay_rate=0.9, num_layers=6
    )
    assert lines_of(message) == [dict(decay_rate=0.9)]
    assert 'ignores' not in message


@pytest.mark.parametrize(
    ('name', 'rate'),
    [
        ('LearningRateDecayOptimWrapperConstructor', 1.0),  # mmpretrain's default
        ('LearningRateDecayOptimizerConstructor', 0.8),  # a suggestion: it has no default
        ('LayerDecayOptimizerConstructor', 0.8),
    ],
)
def test_a_rate_that_is_not_given(name, rate):
    assert lines_of(answer(f'mmconvnext.{name}'))[0] == dict(decay_rate=rate)


def test_mmpretrains_name():
    message = answer('mmconvnext.LearningRateDecayOptimWrapperConstructor', layer_decay_rate=0.65)
    assert f"constructor='{OURS}' here. Norms, biases and scales" in message
    full = dict(norm_decay_mult=1.0, bias_decay_mult=1.0, flat_decay_mult=1.0)
    assert lines_of(message) == [dict(decay_rate=0.65), dict(decay_rate=0.65, **full)]


def test_names_of_others_stay_theirs():
    from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

    for row in TABLE:
        assert row.name not in OPTIM_WRAPPER_CONSTRUCTORS.module_dict
