# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/walk.py: the parts of a config are found wherever they are nested."""

import pytest
from fixtures import CASCADE, MASK_RCNN, UPERNET
from mmengine.config import Config
from mmengine.config.lazy import LazyObject
from mmengine.optim import LinearLR
from mmengine.registry import MODELS, PARAM_SCHEDULERS

from mmconvnext.models import ConvNeXt
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.walk import (
    backbones,
    datasets,
    dicts,
    evaluators,
    pipelines,
    registered,
    task,
    type_name,
    type_of,
)


def test_task(load):
    assert task(load(MASK_RCNN)) == 'mmdet'
    assert task(load(UPERNET)) == 'mmseg'


@pytest.mark.parametrize('scope', ['mmpose', None])
def test_other_scopes_are_refused_with_the_way_out(scope):
    with pytest.raises(RecipeError, match=f'default_scope={scope!r}.*mmconvnext.ConvNeXt'):
        task(Config(dict(default_scope=scope)))


@pytest.mark.parametrize(
    'project, name', [('mmdet', 'MaskRCNN'), ('mmseg', 'EncoderDecoder')], ids=['mmdet', 'mmseg']
)
def test_the_task_of_a_lazy_config_is_that_of_its_model(project, name):
    model = dict(type=LazyObject(f'{project}.models', name))
    assert task(Config(dict(model=model))) == project
    kind = type('Mine', (type_of(model),), {})
    assert task(Config(dict(default_scope=None, model=dict(type=kind)))) == project
    with pytest.raises(RecipeError, match='default_scope=None'):
        task(Config(dict(model=dict(type=ConvNeXt))))


def test_a_full_name_tells_the_task_too():
    assert task(Config(dict(model=dict(type='mmseg.EncoderDecoder')))) == 'mmseg'
    inside = dict(type='Mine', detector=dict(type='mmdet.MaskRCNN'))
    assert task(Config(dict(model=inside))) == 'mmdet'


# Types: strings, classes, lazy objects

LINEAR = ['LinearLR', 'mmengine.LinearLR', 'mmengine.optim.LinearLR', LinearLR]
LINEAR += [LazyObject('mmengine.optim', 'LinearLR')]


@pytest.mark.parametrize('kind', LINEAR, ids=str)
def test_a_type_has_one_name_however_it_is_written(kind):
    for node in (dict(type=kind), Config(dict(node=dict(type=kind))).node):
        assert type_name(node) == 'LinearLR'
        assert registered(Config(), PARAM_SCHEDULERS, node) is LinearLR


def test_what_has_no_type_or_none_that_is_known():
    assert (type_of({}), type_name({}), registered(Config(), MODELS, {})) == (None, '', None)
    for kind in ('NoSuchThing', 'no_such_package.Thing', len):
        assert registered(Config(dict(default_scope='mmdet')), MODELS, dict(type=kind)) is None
    assert registered(
        Config(dict(default_scope='mmpose')), MODELS, dict(type='mmconvnext.ConvNeXt')
    )


def test_dicts_are_found_parents_first_with_their_path():
    node = Config(dict(a=dict(b=[dict(c=1), (dict(d=2), 3)]), e='f')).to_dict()
    assert [path for path, _ in dicts(node)] == ['', 'a', 'a.b.0', 'a.b.1.0']
    assert [path for path, _ in dicts(node['a'], 'root')] == ['root', 'root.b.0', 'root.b.1.0']


def test_a_dict_may_be_changed_while_walking():
    node = dict(a=dict(x=1), b=dict(x=2))
    for _, found in dicts(node):
        found['new'] = True
    assert node == dict(a=dict(x=1, new=True), b=dict(x=2, new=True), new=True)


def test_datasets_are_the_innermost_ones(load):
    cfg = load(UPERNET)
    cfg.train_dataloader.dataset = dict(
        type='ConcatDataset',
        datasets=[
            dict(type='A', data_root='a'),
            dict(type='RepeatDataset', dataset=dict(ann_file='b')),
        ],
    )
    assert [path for path, _ in datasets(cfg)] == [
        'train_dataloader.dataset.datasets.0',
        'train_dataloader.dataset.datasets.1.dataset',
        'val_dataloader.dataset',
        'test_dataloader.dataset',
    ]
    assert [path for path, _ in datasets(cfg, ('test_dataloader',))] == ['test_dataloader.dataset']
    images = dict(type='ImageFolder', data_prefix=dict(img='a'))
    cfg.test_dataloader.dataset = dict(type='A', dataset=dict(type='B', dataset=images))
    ((path, dataset),) = datasets(cfg, ('test_dataloader',))
    assert (path, dataset) == ('test_dataloader.dataset.dataset.dataset', images)
    cfg.val_dataloader = None
    assert 'val_dataloader.dataset' not in [path for path, _ in datasets(cfg)]


def test_pipelines_reach_nested_transforms_and_tta(load):
    kinds = [step.type for step in pipelines(load(UPERNET))]
    assert kinds.count('PackSegInputs') == 4  # train, val, test, tta
    assert kinds.count('TestTimeAug') == 1
    nested = [step.type for step in pipelines(load(MASK_RCNN))]
    assert nested.count('RandomChoiceResize') == 3  # inside RandomChoice
    assert not {'ADE20KDataset', 'CocoDataset', 'DefaultSampler'} & {*kinds, *nested}


def test_pipelines_of_hooks():
    switch = dict(type='PipelineSwitchHook', switch_pipeline=[dict(type='Pad', size=(64, 64))])
    cfg = Config(dict(custom_hooks=[dict(type='EMAHook'), switch]))
    assert [step.type for step in pipelines(cfg)] == ['Pad']


def test_evaluators_of_both_kinds_and_lists():
    one, two, three = (dict(type=name) for name in 'abc')
    assert list(evaluators(dict(val_evaluator=one, test_evaluator=[two, three]))) == [
        one,
        two,
        three,
    ]
    assert list(evaluators(dict(val_evaluator=None))) == []


def test_backbones_wherever_they_are(load):
    assert [path for path, _ in backbones(load(CASCADE))] == ['model.backbone']
    cfg = load(CASCADE)
    cfg.model = dict(type='Teacher', parts=[dict(detector=cfg.model)], backbone=dict(type='ResNet'))
    assert [path for path, _ in backbones(cfg)] == ['model.parts.0.detector.backbone']


class Shell(ConvNeXt):
    """A user's subclass of our backbone."""


@pytest.fixture
def put(request):
    """A function that registers a class in a project for the test."""

    def register(registry, name, kind):
        registry.register_module(name=name, module=kind, force=True)
        request.addfinalizer(lambda: registry.module_dict.pop(name))

    return register


@pytest.mark.parametrize(
    'kind',
    [
        'mmconvnext.ConvNeXt',
        'mmconvnext.models.convnext.ConvNeXt',
        ConvNeXt,
        Shell,
        LazyObject('mmconvnext', 'ConvNeXt'),
        LazyObject('mmconvnext.models', 'ConvNeXt'),
    ],
    ids=str,
)
def test_a_backbone_however_its_type_is_written(load, kind):
    cfg = load(MASK_RCNN)
    cfg.model.backbone.type = kind
    assert [path for path, _ in backbones(cfg)] == ['model.backbone']


@pytest.mark.parametrize('name', ['mmdet.MyConvNeXt', 'MyConvNeXt'])
def test_a_subclass_in_another_registry(load, put, name):
    from mmdet.registry import MODELS as DETECTORS

    put(DETECTORS, 'MyConvNeXt', Shell)
    cfg = load(MASK_RCNN)
    cfg.model.backbone.type = name
    assert [path for path, _ in backbones(cfg)] == ['model.backbone']


def test_a_convnext_of_somebody_else_is_not_ours(load, put):
    from mmdet.registry import MODELS as DETECTORS

    put(DETECTORS, 'ConvNeXt', type('ConvNeXt', (), {}))
    cfg = load(MASK_RCNN)
    for kind in ('ConvNeXt', 'mmdet.ConvNeXt', 'mmpretrain.ConvNeXt'):
        cfg.model.backbone.type = kind
        assert list(backbones(cfg)) == []
