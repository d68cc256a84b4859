# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: each trainable parameter is in exactly one group, with the rate of its depth and the
decay of its role, wherever the backbone is nested; errors name the wrong option or parameter.
"""

import copy
import logging
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from mmconvnext.models import ConvNeXt
from mmconvnext.models.design import CHOICES
from mmconvnext.models.layer_depth import get_layer_depth
from mmconvnext.optim.layer_decay import can_fuse

LR, DECAY, RATE = 1e-3, 0.05, 0.5
DEPTHS = (1, 1, 2, 1)  # 6 layers, 8 groups


class Detector(nn.Module):
    """A backbone and a head with each kind of parameter that heads have."""

    def __init__(self, version: str = 'v1', **options) -> None:
        super().__init__()
        arch = dict(depths=DEPTHS, channels=[4, 8, 12, 16])
        self.backbone = ConvNeXt(arch, version, **options)
        self.neck = nn.Sequential(nn.Conv2d(16, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(4, 1, 1)  # one class

    def forward(self, x):
        maps = self.backbone(x)
        return self.head(self.neck(maps[-1])).square().mean() + sum(m.mean() ** 2 for m in maps)


def build(model: nn.Module, wrapper: dict | None = None, **paramwise) -> OptimWrapper:
    paramwise.setdefault('decay_rate', RATE)
    cfg = dict(
        type='OptimWrapper',
        constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY),
        paramwise_cfg=paramwise,
    )
    return build_optim_wrapper(model, {**cfg, **(wrapper or {})})


def settings(model: nn.Module, wrapper: OptimWrapper) -> dict[str, tuple[float, float]]:
    """Name -> (rate over the base rate, weight decay) of every parameter that is optimized."""
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'] / LR, group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for param in group['params']
    }


def scale_of(name: str, decay_type: str = 'layer_wise') -> float:
    depth, num_depths = get_layer_depth(name, DEPTHS, decay_type)
    return RATE ** (num_depths - 1 - depth)


# --- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
def test_every_parameter_has_the_rate_of_its_depth_and_the_decay_of_its_role(decay_type, version):
    model = Detector(version)
    result = settings(model, build(model, decay_type=decay_type))
    assert set(result) == {name for name, _ in model.named_parameters()}
    for name, param in model.named_parameters():
        inside = name.startswith('backbone.')
        scale = scale_of(name.removeprefix('backbone.'), decay_type) if inside else 1.0
        decay = DECAY if param.ndim > 1 else 0.0
        assert result[name] == (pytest.approx(scale), decay), name


@pytest.mark.parametrize('stem', [s for s in CHOICES['stem'] if s != 'patchify'])
@pytest.mark.parametrize('norm', ['LN', 'SimpleNorm'])
def test_every_layer_of_a_stem_is_at_depth_0_and_no_norm_decays(stem, norm):
    model = Detector(design=dict(stem=stem, norm=norm))
    result = settings(model, build(model))
    stems = {n for n in result if n.startswith('backbone.downsample_layers.0.')}
    assert len(stems) == 2 * (stem != 'resnet') + 2 + (1 if norm == 'SimpleNorm' else 2)
    assert {round(result[name][0], 9) for name in stems} == {RATE**7}
    for name, param in model.named_parameters():
        assert result[name][1] == (DECAY if param.ndim > 1 else 0.0), name
    decayed = settings(model, build(model, norm_decay_mult=1.0))  # a norm by its kind
    norms = {n for n in result if '.norm' in n}
    assert norms and {decayed[name][1] for name in norms} == {DECAY}


@pytest.mark.parametrize('version', ['v1', 'v2'])
@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
def test_groups_are_disjoint_complete_and_merged(decay_type, version):
    model = Detector(version)
    groups = build(model, decay_type=decay_type).optimizer.param_groups
    given = [id(param) for group in groups for param in group['params']]
    assert len(given) == len(set(given))
    assert set(given) == {id(param) for param in model.parameters()}
    keys = [(group['lr'], group['weight_decay']) for group in groups]
    assert len(set(keys)) == len(keys)
    assert len(groups) == 2 * 6  # stem, four stages, head; with and without weight decay


def test_groups_come_in_the_same_order_twice():
    orders = []
    for _ in range(2):
        model = Detector()
        names = {id(param): name for name, param in model.named_parameters()}
        groups = build(model).optimizer.param_groups
        orders.append([[names[id(param)] for param in group['params']] for group in groups])
    assert orders[0] == orders[1]
    model_order = [name for name, _ in Detector().named_parameters()]
    for group in orders[0]:
        assert group == sorted(group, key=model_order.index)


@pytest.mark.parametrize(
    'depths', [(1, 1, 2, 1), (2, 2, 6, 2), (1, 1, 36, 1), (2,), (1, 2, 3, 4, 5)]
)
@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
def test_no_rate_is_above_the_heads(depths, decay_type):
    with torch.device('meta'):
        arch = dict(depths=depths, channels=[4] * len(depths))
        model = nn.ModuleDict(
            dict(backbone=ConvNeXt(arch, out_indices=range(len(depths))), head=nn.Conv2d(4, 1, 1))
        )
    scales = [scale for scale, _ in settings(model, build(model, decay_type=decay_type)).values()]
    assert max(scales) == 1.0
    assert min(scales) > 0


def test_rate_one_is_no_decay():
    model = Detector()
    result = settings(model, build(model, decay_rate=1))
    assert {scale for scale, _ in result.values()} == {1.0}


@pytest.mark.parametrize('paramwise', [{}, dict(bias_lr_mult=2.0), dict(head_lr_mult=0.1)], ids=str)
def test_logged_rate_is_the_full_one(paramwise):
    """mmengine logs the first group's rate as `lr`."""
    assert build(Detector(), **paramwise).get_lr()['lr'][0] == LR


def test_frozen_parameters_are_absent():
    model = Detector(frozen_stages=2)
    model.neck[0].weight.requires_grad_(False)
    result = settings(model, build(model))
    assert set(result) == {name for name, param in model.named_parameters() if param.requires_grad}
    assert 'backbone.stages.1.0.gamma' not in result
    assert 'neck.0.weight' not in result
    assert result['backbone.stages.2.0.gamma'] == (scale_of('stages.2.0.gamma'), 0.0)


def test_table_is_logged_once_without_a_line_per_parameter(log_records):
    model = Detector(frozen_stages=1)
    groups = build(model).optimizer.param_groups
    (record,) = log_records
    assert record.levelno == logging.INFO
    title, header, *lines = record.getMessage().splitlines()
    assert title == 'Learning rates: layer_wise decay 0.5'
    assert header.split() == ['depth', 'lr', 'weight', 'decay', 'tensors', 'parameters']
    assert len(lines) == len(groups)
    for line, group in zip(lines, groups, strict=True):
        depth, lr, decay, tensors, numel = line.split()
        assert float(lr) == pytest.approx(group['lr'], rel=1e-3)
        assert float(lr) / LR == pytest.approx(RATE ** (7 - int(depth)), rel=1e-3)
        assert float(decay) == group['weight_decay']
        assert int(tensors) == len(group['params'])
        assert int(numel.replace(',', '')) == sum(p.numel() for p in group['params'])


def test_keys_of_a_whole_backbone_stand_below_the_table(log_records):
    build(Detector(), custom_keys=dict(backbone=dict(lr_mult=0.1), neck=dict(lr_mult=2)))
    (record,) = log_records
    *_, last = record.getMessage().splitlines()
    assert last.startswith('custom_keys give backbone 0.1 times the learning rate (69 tensors, ')
    assert last.endswith("custom_keys={'backbone': dict(_delete_=True)}")


# --- where the backbone is ------------------------------------------------------------------------


class Wrapper(nn.Module):
    """Like data-parallel wrappers: the model is the attribute `module`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize(
    ('nest', 'prefixes'),
    [
        (lambda m: m, ['']),
        (
            lambda m: nn.ModuleDict(dict(teacher=m, student=copy.deepcopy(m))),
            ['teacher.', 'student.'],
        ),
        (lambda m: nn.Sequential(nn.Sequential(m)), ['0.0.']),
    ],
    ids=['plain', 'teacher and student', 'sequential'],
)
@pytest.mark.parametrize('wrap', [lambda m: m, Wrapper], ids=['', 'wrapped'])
def test_backbone_is_found_where_it_is(nest, prefixes, wrap):
    model = nest(Detector())
    result = settings(model, build(wrap(model)))
    assert set(result) == {name for name, _ in model.named_parameters()}
    for prefix in prefixes:
        for tail in ('downsample_layers.0.0.weight', 'stages.2.1.pwconv1.weight', 'norm0.bias'):
            scale, _ = result[f'{prefix}backbone.{tail}']
            assert scale == pytest.approx(scale_of(tail)), prefix + tail
        assert result[f'{prefix}head.weight'] == (1.0, DECAY)


def test_child_called_module_beside_others_is_no_wrapping():
    model = Detector()
    model.module = nn.Conv2d(4, 4, 1)
    result = settings(model, build(model))
    assert set(result) == {name for name, _ in model.named_parameters()}
    assert result['module.weight'] == (1.0, DECAY)


def part(wrap: Callable, *names: str) -> Callable:
    """Wraps these submodules of a detector."""

    def wrapped(model: nn.Module) -> nn.Module:
        for name in names:
            holder, _, last = name.rpartition('.')
            holder = model.get_submodule(holder)
            holder._modules[last] = wrap(holder._modules[last])
        return model

    return wrapped


WRAPPED = {
    'compiled': torch.compile,
    'compiled backbone': part(torch.compile, 'backbone'),
    'compiled stages and blocks': part(
        torch.compile, 'backbone.stages.2.1', 'backbone.stages.0', 'backbone.norm0', 'head'
    ),
    'checkpointed backbone': part(checkpoint_wrapper, 'backbone'),
    'checkpointed stages and blocks': part(
        checkpoint_wrapper, 'backbone.stages.2.1', 'backbone.stages.2', 'backbone.downsample_layers'
    ),
    'data parallel backbone': part(nn.DataParallel, 'backbone', 'head'),
    'nested': lambda m: nn.DataParallel(
        torch.compile(part(lambda b: torch.compile(checkpoint_wrapper(Wrapper(b))), 'backbone')(m))
    ),
    'wrapper within': part(Wrapper, 'backbone.stages.2.1', 'backbone.stages'),
}


@pytest.mark.parametrize('decay_type', ['layer_wise', 'stage_wise'])
@pytest.mark.parametrize('wrap', WRAPPED.values(), ids=list(WRAPPED))
def test_wrapped_backbone_is_found(wrap, decay_type):
    model = Detector()
    options = dict(decay_type=decay_type, custom_keys={'backbone.stages.2': dict(lr_mult=0.1)})
    plain = settings(model, build(model, **options))
    names = {id(param): name for name, param in model.named_parameters()}
    groups = build(wrap(model), **options).optimizer.param_groups
    result = {
        names[id(param)]: (group['lr'] / LR, group['weight_decay'])
        for group in groups
        for param in group['params']
    }
    assert result == plain


class Lora(nn.Module):
    """A layer and a low-rank addition to it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.rand(2, base.in_features))
        self.lora_b = nn.Linear(2, base.out_features)


def test_layers_within_a_block_have_its_depth():
    model = Detector()
    block = model.backbone.stages[2][1]
    block.pwconv1 = torch.compile(Lora(block.pwconv1))
    result = settings(model, build(model))
    prefix = 'backbone.stages.2.1.pwconv1._orig_mod.'
    scale = pytest.approx(scale_of('stages.2.1.pwconv1.weight'))
    assert result[f'{prefix}lora_a'] == (scale, DECAY)
    assert result[f'{prefix}lora_b.weight'] == (scale, DECAY)
    assert result[f'{prefix}lora_b.bias'] == (scale, 0.0)
    assert f'{prefix}base.weight' not in result


@pytest.mark.parametrize('name', ['adapter', 'stages.2.extra'])
def test_unknown_parameter_of_the_backbone_is_named(name):
    model = Detector()
    holder, _, last = name.rpartition('.')
    model.backbone.get_submodule(holder).add_module(last, nn.Linear(2, 2))
    match = rf"is called '{name}.weight'; names begin with .*; a subclass with other param"
    with pytest.raises(ValueError, match=match):
        build(torch.compile(model))


def test_flat_parameter_is_refused_unless_frozen():
    model = Detector()
    model.head._flat_param = nn.Parameter(torch.rand(5))  # FSDP with use_orig_params=False
    with pytest.raises(ValueError, match='into head._flat_param, but .*use_orig_params=True'):
        build(model)
    model.head._flat_param.requires_grad_(False)
    model.backbone._flat_param = model.head._flat_param
    assert 'head._flat_param' not in settings(model, build(model))


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_decay_of_flattened_parameters_is_that_of_the_whole(version):
    """Like the shards of FSDP and ZeRO: one dimension, of any length."""
    model = Detector(version)
    plain = settings(model, build(model))
    for module in model.modules():
        for name, param in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(param.detach().flatten()[1:], param.requires_grad))
    assert settings(model, build(model)) == plain


def test_model_that_is_a_backbone_only():
    model = ConvNeXt(dict(depths=DEPTHS, channels=[4, 8, 12, 16]))
    assert settings(model, build(model)) == {
        name: (pytest.approx(scale_of(name)), DECAY if param.ndim > 1 else 0.0)
        for name, param in model.named_parameters()
    }


def test_backbones_of_other_depths_have_their_own_scales(log_records):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.rgb = ConvNeXt(dict(depths=[1, 1, 2, 1], channels=[4] * 4))
            self.depth = ConvNeXt(dict(depths=[1, 1, 27, 1], channels=[4] * 4))

    model = Two()
    result = settings(model, build(model))
    assert result['rgb.downsample_layers.0.0.weight'][0] == pytest.approx(RATE**7)
    assert result['depth.downsample_layers.0.0.weight'][0] == pytest.approx(RATE**13)
    log_records.clear()
    model.depth.requires_grad_(False)
    model.rgb.requires_grad_(False)
    model.head = nn.Linear(2, 1, bias=False)
    build(model)
    assert log_records[0].getMessage().splitlines()[2].split()[0] == '13'  # below all stages


def test_model_without_such_a_backbone_is_refused():
    model = nn.ModuleDict(dict(backbone=nn.Conv2d(3, 4, 1), head=nn.Linear(4, 1)))
    match = r"a module with get_layer_depth\(\), but ModuleDict, made of \['Conv2d', 'Linear'\]"
    with pytest.raises(ValueError, match=match):
        build(model)


class OtherBackbone(nn.Module):
    """Returns depths like mmpretrain's backbones: two arguments, a plain tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Linear(2, 2), nn.Linear(2, 2)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        assert param_name.startswith(prefix)
        return (0 if param_name[len(prefix) :].startswith('stem') else 1), 3


def test_backbones_of_mmpretrain_work_layer_wise_only():
    model = nn.ModuleDict(dict(backbone=OtherBackbone(), head=nn.Linear(2, 1)))
    assert settings(model, build(model)) == {
        'backbone.stem.weight': (RATE**2, DECAY),
        'backbone.stem.bias': (RATE**2, 0.0),
        'backbone.block.weight': (RATE, DECAY),
        'backbone.block.bias': (RATE, 0.0),
        'head.weight': (1.0, DECAY),
        'head.bias': (1.0, 0.0),
    }
    match = "OtherBackbone only supports decay_type='layer_wise', got 'stage_wise'"
    with pytest.raises(ValueError, match=match):
        build(model, decay_type='stage_wise')
    with pytest.raises(ValueError, match='num_layers=6, but OtherBackbone needs 1; correct it'):
        build(model, num_layers=6)


class Adapter(nn.Module):
    """A backbone around a backbone, as those for adapters: it has its own answer for its names."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.extra, self.asked = net, nn.Conv2d(3, 4, 1), []

    def get_layer_depth(self, name: str, prefix: str = '', decay_type: str = 'layer_wise'):
        self.asked.append(name)
        return (2 if name.startswith('extra.') else 1), 4


@pytest.mark.parametrize('wrap', [lambda m: m, Wrapper, torch.compile], ids=['', 'wrapped', 'two'])
def test_of_nested_backbones_the_outermost_one_is_asked_once_for_each_parameter(wrap):
    model = Detector()
    names = [f'net.{name}' for name, _ in model.backbone.named_parameters()]
    model.backbone = adapter = Adapter(wrap(model.backbone))
    adapters = Wrapper(model) if wrap is Wrapper else model
    groups = build(adapters).optimizer.param_groups
    assert sorted(adapter.asked) == sorted([*names, 'extra.weight', 'extra.bias'])
    found = {id(p): group['lr'] / LR for group in groups for p in group['params']}
    assert len(found) == sum(len(group['params']) for group in groups)
    assert {found[id(p)] for p in adapter.net.parameters()} == {RATE**2}
    assert {found[id(p)] for p in adapter.extra.parameters()} == {RATE}
    assert {found[id(p)] for p in model.head.parameters()} == {1.0}


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize('num_layers', [None, 6])
def test_right_num_layers_changes_nothing(num_layers):
    model = Detector()
    assert settings(model, build(model, num_layers=num_layers)) == settings(model, build(model))


def test_wrong_num_layers_names_the_right_one():
    match = r'num_layers=12, but ConvNeXt with depths \[1, 1, 2, 1\] needs 6; correct it or, better'
    with pytest.raises(ValueError, match=match):
        build(Detector(), num_layers=12)


@pytest.mark.parametrize(
    ('paramwise', 'match'),
    [
        (dict(decay_rat=0.9), r"unknown keys \['decay_rat'\]; the keys are \['decay_rate', "),
        (dict(decay_rate=0), 'decay_rate must be above 0 and at most 1, got 0'),
        (dict(decay_rate=1.1), 'decay_rate must be above 0 and at most 1, got 1.1'),
        (dict(decay_rate='0.9'), "decay_rate must be above 0 and at most 1, got '0.9'"),
        (dict(decay_rate=True), 'decay_rate must be above 0 and at most 1, got True'),
        (dict(decay_rate=float('nan')), 'decay_rate must be above 0 and at most 1, got nan'),
        (dict(decay_type='block_wise'), "decay_type='block_wise' is unknown; choose one of"),
        (dict(head_lr_mult=0), 'head_lr_mult must be positive and finite, got 0'),
        (dict(head_lr_mult=-1), 'head_lr_mult must be positive and finite, got -1'),
        (dict(head_lr_mult=float('inf')), 'head_lr_mult must be positive and finite, got inf'),
    ],
)
def test_wrong_option_is_named(paramwise, match):
    with pytest.raises(ValueError, match=match):
        build(Detector(), **paramwise)


@pytest.mark.parametrize('paramwise', [None, {}, dict(decay_type='layer_wise')])
def test_missing_decay_rate_is_named(paramwise):
    with pytest.raises(ValueError, match="paramwise_cfg needs 'decay_rate'"):
        build(Detector(), dict(paramwise_cfg=paramwise))


@pytest.mark.parametrize(
    'option',
    [
        dict(custom_keys={'neck': dict(lr_mult=0.5)}),
        dict(bias_lr_mult=0.5),
        dict(bias_decay_mult=0.5),
        dict(norm_decay_mult=0.5),
        dict(flat_decay_mult=0.5),
        dict(dwconv_decay_mult=0.5),
        dict(dcn_offset_lr_mult=0.5),
        dict(bypass_duplicate=True),
    ],
)
def test_each_key_of_mmengine_is_taken(option):
    assert build(Detector(), **option).optimizer.param_groups


def test_missing_lr_is_named():
    with pytest.raises(ValueError, match="the optimizer needs 'lr': layer-wise decay scales it"):
        build(Detector(), dict(optimizer=dict(type='AdamW')))


def test_without_weight_decay_the_optimizers_default_is_that_of_weights_alone(log_records):
    """As in mmengine: SGD's is 0, AdamW's 0.01. Norms, biases and scales have none, as always."""
    model = Detector()
    wrapper = build(model, dict(optimizer=dict(type='SGD', lr=LR)))
    assert {decay for _, decay in settings(model, wrapper).values()} == {0.0}
    plain = settings(model, build(model))
    log_records.clear()
    result = settings(model, build(model, dict(optimizer=dict(type='AdamW', lr=LR))))
    assert result == {name: (lr, decay and 0.01) for name, (lr, decay) in plain.items()}
    (record,) = log_records
    decays = {line.split()[2] for line in record.getMessage().splitlines()[2:]}
    assert decays == {'0', 'default'}


def test_optimizers_that_know_no_weight_decay_work():
    model = Detector()
    wrapper = build(model, dict(optimizer=dict(type='Rprop', lr=LR)))
    names = {id(param) for group in wrapper.optimizer.param_groups for param in group['params']}
    assert names == {id(param) for param in model.parameters()}


@pytest.mark.parametrize(
    ('paramwise', 'name'),
    [
        (dict(custom_keys=dict(head=dict(lr_mult=2), neck=dict(decay_mult=0.0))), 'custom_keys'),
        (dict(norm_decay_mult=0.0), 'norm_decay_mult'),
        (dict(bias_decay_mult=0.0), 'bias_decay_mult'),
        (dict(dwconv_decay_mult=0.0), 'dwconv_decay_mult'),
        (dict(flat_decay_mult=0.0), 'flat_decay_mult'),
    ],
    ids=str,
)
def test_factor_of_a_missing_weight_decay_is_refused_as_in_mmengine(paramwise, name):
    without = dict(optimizer=dict(type='AdamW', lr=LR))
    if name != 'flat_decay_mult':  # mmengine forgets this one
        with pytest.raises(ValueError, match='base_wd should not be None'):
            build_optim_wrapper(Detector(), dict(**without, paramwise_cfg=paramwise))
    match = rf'weight decay in .*{name}.*, but the optimizer has none; set it.*weight_decay=0.05'
    with pytest.raises(ValueError, match=match) as error:
        build(Detector(), without, **paramwise)
    assert 'head' not in str(error.value)
    build(Detector(), **paramwise)
    build(Detector(), dict(optimizer=dict(type='AdamW', lr=LR, weight_decay=0.0)), **paramwise)


def test_config_of_several_optimizers_is_refused_and_each_of_them_works():
    model = nn.ModuleDict(dict(generator=Detector(), discriminator=Detector('v2')))
    part = dict(
        optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY),
        paramwise_cfg=dict(decay_rate=RATE),
    )
    constructor = 'mmconvnext.LayerDecayOptimWrapperConstructor'
    match = r"no 'optimizer', only \['discriminator', 'generator'\]; this constructor builds one"
    for options in ({}, dict(paramwise_cfg=dict(decay_rate=RATE))):
        cfg = dict(constructor=constructor, generator=part, discriminator=part, **options)
        with pytest.raises(ValueError, match=match):
            build_optim_wrapper(model, cfg)
    wrappers = OptimWrapperDict(
        **{
            name: build_optim_wrapper(child, dict(constructor=constructor, **part))
            for name, child in model.items()
        }
    )
    for name, child in model.items():
        assert settings(child, wrappers[name]) == settings(child, build(child))


def test_options_of_the_caller_are_not_changed():
    cfg = dict(
        constructor='mmconvnext.LayerDecayOptimWrapperConstructor',
        optimizer=dict(type='SGD', lr=LR),
        paramwise_cfg=dict(decay_rate=RATE, num_layers=6, custom_keys=dict(neck=dict(lr_mult=2))),
    )
    before = copy.deepcopy(cfg)
    build_optim_wrapper(Detector(), cfg)
    assert cfg == before


def test_custom_keys_multiply_the_rate_of_the_layer():
    model = Detector('v2')
    custom_keys = {
        'stages.2': dict(lr_mult=0.1),
        'grn': dict(decay_mult=0.5),
        'neck': dict(lr_mult=4.0, decay_mult=0.0),
        'neck.1': dict(decay_mult=2.0),
    }
    result = settings(model, build(model, custom_keys=custom_keys))
    plain = settings(model, build(model))
    for name, (scale, decay) in plain.items():
        expected = (scale, decay)
        if 'stages.2' in name:  # the longest key that matches is the one
            expected = (0.1 * scale, decay)
        elif 'grn' in name:
            expected = (scale, 0.5 * DECAY)
        elif name.startswith('neck.1'):
            expected = (1.0, 2 * DECAY)
        elif name.startswith('neck.0'):
            expected = (4.0, 0.0)
        assert result[name] == pytest.approx(expected), name


def test_custom_keys_do_not_split_equal_groups():
    model = Detector()
    plain = build(model).optimizer.param_groups
    ones = dict(neck=dict(lr_mult=1.0), head=dict(lr_mult=1.0, decay_mult=1.0))
    keyed = build(model, custom_keys=ones, norm_decay_mult=0.0).optimizer.param_groups
    assert len(keyed) == len(plain)
    assert all('lr_mult' not in group and 'decay_mult' not in group for group in keyed)


def test_custom_settings_of_the_optimizer_reach_it():
    model = Detector()
    groups = build(model, custom_keys=dict(neck=dict(betas=(0.5, 0.5)))).optimizer.param_groups
    special = [group for group in groups if group['betas'] == (0.5, 0.5)]
    assert {id(p) for group in special for p in group['params']} == set(
        map(id, model.neck.parameters())
    )
    assert sorted(group['weight_decay'] for group in special) == [0.0, DECAY]


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_custom_keys_change_what_they_name_alone(version):
    model = Detector(version)
    options = dict(bias_lr_mult=2.0)
    plain = settings(model, build(model, **options))
    for custom, changed in (
        (dict(lr_mult=0.1), lambda name, lr, decay: (0.1 * scale_of(name), decay)),
        (dict(decay_mult=0.5), lambda name, lr, decay: (lr, 0.5 * DECAY)),
        (
            dict(lr_mult=0.1, decay_mult=0.5),
            lambda name, lr, decay: (0.1 * scale_of(name), 0.5 * DECAY),
        ),
        ({}, lambda name, lr, decay: (lr, decay)),
    ):
        result = settings(model, build(model, **options, custom_keys=dict(backbone=custom)))
        for name, (lr, decay) in plain.items():
            inner = name.removeprefix('backbone.')
            expected = (lr, decay) if inner == name else changed(inner, lr, decay)
            assert result[name] == pytest.approx(expected), (custom, name)


def test_rate_and_decay_in_custom_keys_are_final_as_in_mmengine():
    model = Detector()
    custom_keys = {'stages.2': dict(lr=3 * LR, weight_decay=7.0)}
    result = settings(model, build(model, custom_keys=custom_keys))
    for name, values in result.items():
        assert ('stages.2' in name) == (values == (pytest.approx(3), 7.0)), name


def test_custom_key_that_no_name_contains_is_reported(log_records):
    custom_keys = dict(bakbone=dict(lr_mult=0.1), neck=dict(lr_mult=2.0))
    build(Detector(), custom_keys=custom_keys)
    warnings = [r.getMessage() for r in log_records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("custom_keys ['bakbone'] have no effect: no parameter name")
    log_records.clear()
    model = Detector(frozen_stages=0)
    build(model, custom_keys={'downsample_layers.0': dict(lr_mult=0.1)})
    assert all(r.levelno < logging.WARNING for r in log_records)  # it names frozen parameters


def test_custom_keys_need_dicts():
    match = r"custom_keys\['neck'\] must be a dict such as dict\(lr_mult=0.1\), got 0.1"
    with pytest.raises(ValueError, match=match):
        build(Detector(), custom_keys=dict(neck=0.1))
    for custom_keys in (['neck'], 'neck', {1: dict(lr_mult=0.1)}):
        with pytest.raises(ValueError, match='custom_keys must be a dict whose keys are parts'):
            build(Detector(), custom_keys=custom_keys)


NEAR_MISSES = {
    'lr_mult': ('lr_mul', 'lr_multi', 'lr_multiplier', 'LR_MULT', 'lrmult', 'lr-mult', 'mult'),
    'decay_mult': ('decay_mul', 'weight_decay_mult', 'Decay_Mult', 'decaymult', 'bias_decay_mult'),
}


@pytest.mark.parametrize(
    ('meant', 'name'), [(meant, name) for meant, names in NEAR_MISSES.items() for name in names]
)
def test_near_misses_in_custom_keys_are_refused(meant, name):
    match = rf"custom_keys\['neck'\] has the key '{name}'.* did you mean '{meant}'\?"
    with pytest.raises(ValueError, match=match):
        build(Detector(), custom_keys=dict(head=dict(lr_mult=1), neck={name: 0.1}))


@pytest.mark.parametrize('name', ['params', 'Params', 7])
def test_custom_keys_hold_no_parameters(name):
    match = rf"custom_keys\['neck'\] has the key {name!r}; it may have"
    with pytest.raises(ValueError, match=match):
        build(Detector(), custom_keys=dict(neck={name: []}))


@pytest.mark.parametrize(
    'name', ['betas', 'eps', 'lr', 'weight_decay', 'lr_scale', 'amsgrad', 'momentum', 'initial_lr']
)
def test_options_of_an_optimizer_in_custom_keys_are_kept(name):
    groups = build(Detector(), custom_keys=dict(neck={name: 0.25})).optimizer.param_groups
    assert [group for group in groups if group.get(name) == 0.25]


BAD_FACTORS = (-1, -1e-9, float('nan'), float('inf'), True, '0.1', [0.1])


@pytest.mark.parametrize('value', [*BAD_FACTORS, None], ids=repr)
@pytest.mark.parametrize('name', ['lr_mult', 'decay_mult'])
def test_factors_in_custom_keys_are_finite_and_not_negative(name, value):
    match = rf"custom_keys\['neck'\] {name} must be a finite number >= 0, got"
    with pytest.raises(ValueError, match=match):
        build(Detector(), custom_keys=dict(neck={name: value}))
    build(Detector(), custom_keys=dict(neck={name: 0}))


@pytest.mark.parametrize('value', BAD_FACTORS, ids=repr)
@pytest.mark.parametrize('name', ['bias_lr_mult', 'norm_decay_mult', 'flat_decay_mult'])
def test_factors_are_finite_and_not_negative(name, value):
    with pytest.raises(ValueError, match=f'paramwise_cfg {name} must be a finite number >= 0'):
        build(Detector(), **{name: value})


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(bias_lr_mult=2.0, bias_decay_mult=0.5),
        dict(norm_decay_mult=0.5, dwconv_decay_mult=0.25, flat_decay_mult=0.125),
        dict(norm_decay_mult=None, bias_decay_mult=None, flat_decay_mult=None),
        dict(custom_keys={'stages.2': dict(lr_mult=0.1, decay_mult=0.2), 'norm': dict(lr=0.5)}),
    ],
    ids=str,
)
@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_without_decay_of_rates_the_settings_are_mmengines(version, options):
    model = Detector(version)
    rules = dict.fromkeys(('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult'), 0.0)
    if 'norm' in options.get('custom_keys', {}):  # mmengine: a key turns the rules off
        options = copy.deepcopy(options)
        options['custom_keys']['norm']['decay_mult'] = 1.0
    cfg = dict(
        optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY),
        paramwise_cfg={**rules, **options},
    )
    expected = settings(model, build_optim_wrapper(model, cfg))
    assert settings(model, build(model, decay_rate=1.0, **options)) == {
        name: pytest.approx(values) for name, values in expected.items()
    }


def test_bias_lr_mult():
    model = Detector()
    result, plain = settings(model, build(model, bias_lr_mult=2.0)), settings(model, build(model))
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            assert result[f'{name}.bias'] == (pytest.approx(2 * plain[f'{name}.bias'][0]), 0.0)
            assert result[f'{name}.weight'] == plain[f'{name}.weight']


def test_head_lr_mult_leaves_the_backbone():
    model = Detector()
    result, plain = settings(model, build(model, head_lr_mult=3.0)), settings(model, build(model))
    for name, (scale, decay) in plain.items():
        factor = 1.0 if name.startswith('backbone.') else 3.0
        assert result[name] == (pytest.approx(factor * scale), decay), name


@pytest.mark.parametrize(
    ('option', 'changed'),
    [
        ('norm_decay_mult', lambda m, n: isinstance(m, (nn.LayerNorm, nn.BatchNorm2d))),
        ('bias_decay_mult', lambda m, n: isinstance(m, (nn.Conv2d, nn.Linear)) and n == 'bias'),
        ('dwconv_decay_mult', lambda m, n: getattr(m, 'groups', 1) > 1 and n == 'weight'),
    ],
)
def test_decay_options_of_mmengine(option, changed):
    model = Detector()
    result = settings(model, build(model, **{option: 0.5}))
    plain = settings(model, build(model))
    count = 0
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            full = f'{prefix}.{name}'
            expected = 0.5 * DECAY if changed(module, name) else plain[full][1]
            count += changed(module, name)
            assert result[full] == (plain[full][0], expected), full
    assert count > 0


class Shared(Detector):
    """Two heads with one convolution, shared as between the levels of mmdet's RTMDet."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 1, 1)) for _ in range(3))
        for head in self.heads:
            head[0] = self.head


def test_shared_parameters_are_refused_as_in_mmengine():
    plain = dict(optimizer=dict(type='AdamW', lr=LR), paramwise_cfg=dict(bias_lr_mult=1.0))
    with pytest.raises(ValueError, match='some parameters appear in more than one'):
        build_optim_wrapper(Shared(), plain)
    match = (
        r'some parameters appear in more than one module.*: heads\.0\.0\.weight is head\.weight, '
        r'.* and 3 more; set bypass_duplicate=True'
    )
    for given in ({}, dict(bypass_duplicate=False)):
        with pytest.raises(ValueError, match=match):
            build(Shared(), **given)


@pytest.mark.parametrize(
    ('shared', 'end'), [(1, ''), (3, ''), (4, ' and 1 more')], ids=['one', 'three', 'four']
)
def test_at_most_three_shared_parameters_are_named(shared, end):
    model = Detector()
    model.head.bias.requires_grad_(False)
    model.heads = nn.ModuleList(nn.Sequential(model.head) for _ in range(shared))
    named = ', '.join(f'heads.{i}.0.weight is head.weight' for i in range(min(shared, 3)))
    with pytest.raises(ValueError, match=re.escape(f'several times: {named}{end}; set bypass')):
        build(model)


def test_shared_parameters_are_updated_once_if_asked(log_records):
    model, plain = Shared(), Detector()
    wrapper = build(model, bypass_duplicate=True)
    result = settings(model, wrapper)
    assert result == settings(plain, build(plain))
    given = [id(param) for group in wrapper.optimizer.param_groups for param in group['params']]
    assert len(given) == len(set(given)) == len(result)
    warnings = [r.getMessage() for r in log_records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith('bypass_duplicate=True: 6 shared parameters get the settings')


def test_shared_parameters_have_the_settings_of_their_first_place():
    model = Detector()
    model.head.weight = nn.Parameter(torch.rand(1, 4, 1, 1))
    model.late = nn.Conv2d(4, 1, 1)
    model.late.weight = model.head.weight
    keys = dict(head=dict(lr_mult=2.0), late=dict(lr_mult=3.0))
    result = settings(model, build(model, bypass_duplicate=True, custom_keys=keys))
    assert result['head.weight'] == (2.0, DECAY)
    assert result['late.bias'] == (3.0, 0.0)


def test_what_mmengine_sees_once_is_not_shared():
    """A module that one parent has under two names, and frozen parameters."""
    model = Detector()
    model.second = model.head
    model.heads = nn.Sequential(model.neck.requires_grad_(False))
    plain = dict(optimizer=dict(type='AdamW', lr=LR), paramwise_cfg=dict(bias_lr_mult=1.0))
    theirs = settings(model, build_optim_wrapper(model, plain))
    assert set(settings(model, build(model))) == set(theirs)


def test_scales_of_the_backbone_have_no_decay_whatever_their_shape_but_convolutions_do():
    model = Detector('v2')
    grn = model.backbone.stages[0][0].grn
    grn.gamma = nn.Parameter(grn.gamma.detach().reshape(1, 1, 1, -1))  # Meta's shape
    grn.beta = nn.Parameter(grn.beta.detach().reshape(1, 1, 1, -1))
    model.backbone.stages[0][0].layer_scale = nn.Parameter(torch.ones(4, 1, 1))  # torchvision's
    model.neck.layer_scale = nn.Parameter(torch.ones(4, 1, 1))
    result = settings(model, build(model))
    for name in ('grn.gamma', 'grn.beta', 'layer_scale'):
        name = f'stages.0.0.{name}'
        assert result[f'backbone.{name}'] == (pytest.approx(scale_of(name)), 0.0)
    assert result['neck.layer_scale'] == (1.0, DECAY)  # as with mmdet's constructor
    assert model.head.weight.shape == (1, 4, 1, 1)
    assert result['head.weight'] == (1.0, DECAY)
    assert result['backbone.stages.0.0.dwconv.weight'][1] == DECAY


# --- in training ----------------------------------------------------------------------------------


def train_step(model: nn.Module, wrapper: OptimWrapper) -> float:
    with wrapper.optim_context(model):
        loss = model(torch.randn(2, 3, 32, 32))
    wrapper.update_params(loss)
    return loss.item()


def moved(model: nn.Module, before: dict) -> set[str]:
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


@pytest.mark.parametrize(
    'options',
    [{}, dict(type='AmpOptimWrapper', dtype='bfloat16', clip_grad=dict(max_norm=1.0))],
    ids=str,
)
def test_accumulation_updates_at_the_last_of_the_counts(options, monkeypatch):
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    model = Detector(layer_scale_init_value=1.0)
    wrapper = build(model, dict(accumulative_counts=3, **options))
    wrapper.initialize_count_status(model, 0, 6)
    before = copy.deepcopy(model.state_dict())
    for _ in range(2):
        train_step(model, wrapper)
        assert moved(model, before) == set()
    train_step(model, wrapper)
    assert {'head.weight', 'backbone.downsample_layers.0.0.weight'} <= moved(model, before)


def test_amp_wrapper_in_bfloat16(monkeypatch):
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    # It asserts a GPU, but computes with autocast wherever the model is.
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    model = Detector(layer_scale_init_value=1.0)
    wrapper = build(model, dict(type='AmpOptimWrapper', dtype='bfloat16'))
    assert type(wrapper).__name__ == 'AmpOptimWrapper'
    plain = build(model)
    assert settings(model, wrapper) == settings(model, plain)
    before = copy.deepcopy(model.state_dict())
    seen = []
    model.head.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    assert torch.isfinite(torch.tensor(train_step(model, wrapper)))
    assert seen == [torch.bfloat16]
    assert 'backbone.stages.2.1.pwconv1.weight' in moved(model, before)


def torch_fuses_on_a_cpu() -> bool:
    try:
        torch.optim.AdamW([torch.zeros(1)], fused=True)
    except RuntimeError:  # before torch 2.4
        return False
    return True


FUSES = torch_fuses_on_a_cpu()


@pytest.mark.parametrize('kind', [dict(foreach=True), dict(fused=True)], ids=str)
def test_multi_tensor_optimizers_step_as_the_plain_one(kind):
    if 'fused' in kind and not FUSES:
        pytest.skip(f'torch {torch.__version__} has no fused step on a CPU')
    model, twin = Detector().eval(), Detector().eval()
    twin.load_state_dict(model.state_dict())
    optimizer = dict(type='AdamW', lr=LR, weight_decay=DECAY)
    for net, options in ((model, dict(foreach=False)), (twin, kind)):
        wrapper = build(net, dict(optimizer={**optimizer, **options}))
        torch.manual_seed(1)
        for _ in range(2):
            train_step(net, wrapper)
    for name, param in model.named_parameters():
        torch.testing.assert_close(twin.get_parameter(name), param, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ('options', 'fused'),
    [
        (dict(type='AdamW'), True),
        (dict(type='Adam'), True),
        (dict(type=torch.optim.AdamW), True),
        (dict(type='AdamW', fused=False), False),
        (dict(type='AdamW', foreach=True), None),
        (dict(type='SGD'), None),
    ],
    ids=str,
)
def test_adam_is_fused_unless_the_options_say_otherwise(options, fused):
    if fused and not FUSES:
        pytest.skip(f'torch {torch.__version__} has no fused step on a CPU')
    optimizer = build(Detector(), dict(optimizer={**options, 'lr': LR})).optimizer
    assert {group.get('fused') for group in optimizer.param_groups} == {fused}


def test_adam_is_not_fused_where_torch_cannot(monkeypatch):
    class Old(torch.optim.AdamW):
        def __init__(self, params, fused=None, **options):
            if fused:
                raise RuntimeError('`fused=True` requires all the params to be on a GPU')
            super().__init__(params, **options)

    monkeypatch.setattr(torch.optim, 'AdamW', Old)
    assert not can_fuse('AdamW', Detector())
    model = Detector()
    assert not {group.get('fused') for group in build(model).optimizer.param_groups} - {None, False}


def test_whether_adam_is_fused_depends_on_what_is_trained(monkeypatch):
    class Half(torch.optim.AdamW):
        """Fused for one type of device and one dtype alone."""

        def __init__(self, params, fused=None, **options):
            kinds = {(p.device.type, p.dtype) for p in params}
            if fused and not kinds <= {('cpu', torch.float32)}:
                raise RuntimeError(f'fused=True is not supported for {kinds}')
            super().__init__(params, **options)

    monkeypatch.setattr(torch.optim, 'AdamW', Half)
    model = Detector()
    assert can_fuse('AdamW', model) and can_fuse(Half, model)
    for other in ('SGD', 'Lion', torch.optim.SGD):  # a name that is not torch's is no error
        assert not can_fuse(other, model)
    for options in (dict(device='meta'), dict(dtype=torch.bfloat16)):
        model.head.table = nn.Parameter(torch.zeros(3, **options), requires_grad=False)
        assert can_fuse('AdamW', model)
        model.head.table.requires_grad_()
        assert not can_fuse('AdamW', model)


def test_auto_scaling_multiplies_every_group():
    model = Detector()
    wrapper, plain = build(model), build(model)
    runner = SimpleNamespace(
        _train_dataloader=dict(batch_size=4),
        world_size=2,
        param_schedulers=None,
        logger=logging.getLogger('runner'),
    )
    Runner.scale_lr(runner, wrapper, dict(enable=True, base_batch_size=16))
    rates = [group['lr'] for group in wrapper.optimizer.param_groups]
    expected = [0.5 * group['lr'] for group in plain.optimizer.param_groups]
    assert rates == pytest.approx(expected)


def test_resume_continues_the_run():
    """Two steps in one run equal two steps with a restart between them."""
    states = []
    for restart in (False, True):
        torch.manual_seed(1)
        model = Detector(layer_scale_init_value=1.0)
        wrapper = build(model)
        train_step(model, wrapper)
        if restart:
            saved = copy.deepcopy((model.state_dict(), wrapper.state_dict()))
            random_state = torch.get_rng_state()
            model = Detector(layer_scale_init_value=1.0)
            wrapper = build(model)
            model.load_state_dict(saved[0])
            wrapper.load_state_dict(saved[1])
            torch.set_rng_state(random_state)
        train_step(model, wrapper)
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
