# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/optimizer.py: options are read, and no hook relies on the order of our groups."""

import inspect

import pytest
from fixtures import LEAVES, MASK_RCNN, found, public_config, stem
from mmengine.config import Config
from mmengine.config.lazy import LazyObject
from mmengine.hooks import ParamSchedulerHook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from mmconvnext.optim import LayerDecayOptimWrapperConstructor
from mmconvnext.recipe.checks import check_recipe
from mmconvnext.recipe.checks.optimizer import check_constructor, check_hooks, check_num_layers
from mmconvnext.recipe.errors import RecipeError

OURS = 'mmconvnext.LayerDecayOptimWrapperConstructor'


def constructor(cfg):
    return found(cfg, lambda cfg, loaders: check_constructor(cfg))


def hooks(cfg):
    return found(cfg, lambda cfg, loaders: check_hooks(cfg))


@pytest.mark.parametrize('config', LEAVES, ids=stem)
def test_every_shipped_config_passes(load, config):
    cfg = load(str(config))
    assert constructor(cfg) == hooks(cfg) == []


# Options


def test_decay_rate_under_another_constructor(load):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.pop('constructor')
    with pytest.raises(
        RecipeError,
        match=r"paramwise_cfg has \['decay_rate', 'decay_type'\], which "
        r'DefaultOptimWrapperConstructor ignores: all layers would learn at the full rate\. '
        rf"Set optim_wrapper\.constructor='{OURS}'\n\(checks\.unread_options=False",
    ):
        check_recipe(cfg)
    cfg.checks = dict(unread_options=False)
    assert 'passed by checks.unread_options=False' in constructor(cfg)[0]


@pytest.mark.parametrize(
    'kind',
    [
        None,
        'DefaultOptimWrapperConstructor',
        'mmengine.DefaultOptimWrapperConstructor',
        'mmengine.optim.DefaultOptimWrapperConstructor',
        DefaultOptimWrapperConstructor,
        LazyObject('mmengine.optim', 'DefaultOptimWrapperConstructor'),
        'mmseg.ForceDefaultOptimWrapperConstructor',
    ],
    ids=str,
)
@pytest.mark.parametrize(
    'key', ['decay_rate', 'decay_type', 'num_layers', 'layer_decay_rate', 'head_lr_mult']
)
def test_options_of_layer_decay_that_nobody_reads(kind, key):
    wrapper = dict(paramwise_cfg={key: 1, 'custom_keys': {}}, constructor=kind)
    with pytest.raises(RecipeError, match=rf"has \['{key}'\], which \w+ ignores: .*{OURS}"):
        constructor(Config(dict(optim_wrapper=wrapper)))


def test_an_option_that_is_misspelt():
    cfg = Config(dict(optim_wrapper=dict(paramwise_cfg=dict(norm_decay=0.0))))
    with pytest.raises(
        RecipeError, match=r"has \['norm_decay'\], which .* ignores: it reads .*'norm_decay_mult'"
    ):
        constructor(cfg)


@pytest.mark.parametrize('key', ['layer_decay_rate', 'head_lr_mult', 'custom_keys'])
def test_what_mmdets_constructor_does_not_read(key):
    kind = 'mmdet.LearningRateDecayOptimizerConstructor'
    options = {'decay_rate': 0.9, 'num_layers': 6, key: {}}
    cfg = Config(dict(optim_wrapper=dict(constructor=kind, paramwise_cfg=options)))
    with pytest.raises(RecipeError, match=rf"has \['{key}'\], which LearningRateDecayOptimizerC"):
        constructor(cfg)


EVERYBODYS = {
    'custom_keys': {},
    'bias_lr_mult': 2,
    'bias_decay_mult': 0,
    'norm_decay_mult': 0,
    'bypass_duplicate': True,
    'dwconv_decay_mult': 0,
    'flat_decay_mult': 0,
    'dcn_offset_lr_mult': 0.1,
}


def test_what_mmengines_constructor_reads():
    for key in EVERYBODYS:  # its class says so too
        assert f"'{key}'" in inspect.getsource(DefaultOptimWrapperConstructor)
    cfg = Config(dict(optim_wrapper=dict(paramwise_cfg=EVERYBODYS)))
    assert constructor(cfg) == []
    cfg.optim_wrapper.paramwise_cfg = {**EVERYBODYS, 'force_default_settings': True}
    match = (
        r"\['force_default_settings'\], which DefaultOptimWrapperConstructor ignores: it reads \["
    )
    with pytest.raises(RecipeError, match=match) as caught:
        constructor(cfg)
    assert f'it reads {sorted(EVERYBODYS)}\n' in str(caught.value)
    cfg.optim_wrapper.constructor = 'mmseg.ForceDefaultOptimWrapperConstructor'
    assert constructor(cfg) == []


class Foreign(DefaultOptimWrapperConstructor):
    """Reads options that only its author knows."""


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0)}, norm_decay_mult=0.0)),
        dict(paramwise_cfg=None),
        dict(
            constructor='mmdet.LearningRateDecayOptimizerConstructor',
            paramwise_cfg=dict(decay_rate=0.9, decay_type='layer_wise', num_layers=6),
        ),
        dict(
            constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.9),
        ),
        dict(constructor='TheirOwn', paramwise_cfg=dict(decay_rate=0.9, what=1)),
        dict(constructor=Foreign, paramwise_cfg=dict(decay_rate=0.9, what=1)),
        dict(constructor=OURS, paramwise_cfg=dict(decay_rate=0.9, head_lr_mult=2)),
        dict(
            constructor=LayerDecayOptimWrapperConstructor,
            paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise', num_layers=12),
        ),
    ],
    ids=['mmengine', 'none', 'mmdet', 'mmpretrain', 'unknown', 'foreign', 'ours', 'our class'],
)
def test_what_is_read_or_not_known_passes(wrapper):
    assert constructor(Config(dict(optim_wrapper=wrapper))) == []
    assert constructor(Config()) == []


@pytest.mark.parametrize('key', ['norm_decay_mult', 'bias_decay_mult', 'bypass_duplicate'])
def test_what_is_not_read_but_done_anyway(key):
    """mmdet's own ConvNeXt config sets options for what its constructor does anyway."""
    file = public_config('mmdet::rtmdet/rtmdet_l_convnext_b_4xb32-100e_coco.py')
    cfg = Config.fromfile(file, import_custom_modules=False)
    assert constructor(cfg) == []
    cfg.optim_wrapper.paramwise_cfg[key] = False if key == 'bypass_duplicate' else 0.5
    with pytest.raises(RecipeError, match=rf"has \['{key}'\], which LearningRateDecayOptimizerC"):
        constructor(cfg)


def test_a_test_needs_no_optimizer(load):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.pop('constructor')
    cfg.checks = dict(files=False)
    warnings = check_recipe(cfg, ('test_dataloader',))
    assert not any('paramwise_cfg' in line for line in warnings)


# Hooks


class YOLOv5ParamSchedulerHook(ParamSchedulerHook):
    """Stands for mmyolo's, which is not installed."""


@pytest.mark.parametrize(
    'hook',
    ['mmyolo.YOLOv5ParamSchedulerHook', 'YOLOv5ParamSchedulerHook', YOLOv5ParamSchedulerHook]
    + [type('Mine', (YOLOv5ParamSchedulerHook,), {})],
    ids=str,
)
@pytest.mark.parametrize('kind', [OURS, LayerDecayOptimWrapperConstructor], ids=str)
def test_a_hook_that_counts_groups(load, hook, kind):
    cfg = load(MASK_RCNN)
    cfg.optim_wrapper.constructor = kind
    cfg.default_hooks.param_scheduler = dict(type=hook)
    with pytest.raises(
        RecipeError,
        match=r'default_hooks\.param_scheduler is YOLOv5ParamSchedulerHook, which expects the '
        r"[^\n]* set default_hooks\.param_scheduler=dict\(_delete_=True, type='Param"
        r"[^\n]*\n  param_scheduler=\[dict\(type='LinearLR'[^\n]*T_max=36,"
        r'[^\n]*\n\(checks\.group_hooks=False',
    ):
        check_recipe(cfg)
    cfg.default_hooks.param_scheduler = dict(type='ParamSchedulerHook')
    cfg.custom_hooks = [dict(type='EMAHook'), dict(type=hook)]
    with pytest.raises(RecipeError, match=r'custom_hooks\.1 is YOLO.*; remove custom_hooks\.1'):
        hooks(cfg)


@pytest.mark.parametrize(
    'kind', [None, 'mmyolo.YOLOv5OptimizerConstructor', 'DefaultOptimWrapperConstructor']
)
def test_beside_other_constructors_it_is_left_alone(kind):
    cfg = dict(
        optim_wrapper=dict(constructor=kind),
        custom_hooks=[dict(type='mmyolo.YOLOv5ParamSchedulerHook')],
    )
    assert hooks(Config(cfg)) == []


def test_the_line_that_mends_it_has_the_length_of_the_run():
    cfg = dict(optim_wrapper=dict(constructor=OURS), default_hooks=None)
    cfg['custom_hooks'] = [dict(type='mmyolo.YOLOv5ParamSchedulerHook')]
    for train, epochs in ((None, 300), (dict(max_iters=9), 300), (dict(max_epochs=12), 12)):
        with pytest.raises(RecipeError, match=rf'begin=0, end={epochs}, T_max={epochs}, conv'):
            hooks(Config(dict(cfg, train_cfg=train)))


def test_the_line_that_mends_it_is_a_schedule(load):
    from mmengine.registry import PARAM_SCHEDULERS

    cfg = load(MASK_RCNN)
    cfg.custom_hooks = [dict(type='mmyolo.YOLOv5ParamSchedulerHook')]
    with pytest.raises(RecipeError) as caught:
        hooks(cfg)
    line = str(caught.value).splitlines()[1].partition('=')[2]
    for scheduler in eval(line):
        assert PARAM_SCHEDULERS.get(scheduler['type'])
    assert OPTIM_WRAPPER_CONSTRUCTORS.get(OURS) is LayerDecayOptimWrapperConstructor


# num_layers


def layers(cfg, **options):
    cfg.optim_wrapper.paramwise_cfg.update(options)
    return [(finding.check, finding.text) for finding in check_num_layers(cfg)]


@pytest.mark.parametrize('arch', ['atto', 'tiny', 'small'])
@pytest.mark.parametrize('scope', ['ours', 'mmdet', 'mmseg'])
def test_num_layers_is_that_of_the_backbone(load, arch, scope):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.arch = arch
    cfg.optim_wrapper.paramwise_cfg.decay_type = 'layer_wise'
    if scope != 'ours':
        cfg.optim_wrapper.constructor = f'{scope}.LearningRateDecayOptimizerConstructor'
    right, wrong = (12, 6) if arch == 'small' else (6, 12)
    assert layers(cfg, num_layers=right) == []
    ((check, text),) = layers(cfg, num_layers=wrong)
    assert check == 'num_layers' and f'num_layers={wrong}, but model.backbone with depths' in text
    assert f'needs {right}' in text and f'set num_layers={right}, or leave it out' in text
    cfg.optim_wrapper.paramwise_cfg.pop('num_layers')
    assert bool(layers(cfg)) is (scope != 'ours')  # theirs fails without


def test_num_layers_of_other_constructors_and_rules(load):
    cfg = load(MASK_RCNN)
    assert layers(cfg, decay_type='single', num_layers=18) == []
    assert layers(cfg, num_layers=6)[0][0] == 'num_layers'
    assert layers(cfg, decay_type='no such rule') == []  # the constructor says it
    cfg.optim_wrapper.constructor = 'DefaultOptimWrapperConstructor'
    assert layers(cfg, num_layers=6) == []
