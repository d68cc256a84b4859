# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/walk.py: the parts of a config are found wherever they are nested."""

import pytest
from fixtures import CASCADE, MASK_RCNN, UPERNET
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.walk import backbones, datasets, dicts, evaluators, pipelines, task


def test_task(load):
    assert task(load(MASK_RCNN)) == 'mmdet'
    assert task(load(UPERNET)) == 'mmseg'


@pytest.mark.parametrize('scope', ['mmpose', None])
def test_other_scopes_are_refused_with_the_way_out(scope):
    with pytest.raises(RecipeError, match=f'default_scope={scope!r}.*mmconvnext.ConvNeXt'):
        task(Config(dict(default_scope=scope)))


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
    cfg.val_dataloader = None
    assert 'val_dataloader.dataset' not in [path for path, _ in datasets(cfg)]


def test_pipelines_reach_nested_transforms_and_tta(load):
    kinds = [step.type for step in pipelines(load(UPERNET))]
    assert kinds.count('PackSegInputs') == 4  # train, val, test, tta
    assert kinds.count('TestTimeAug') == 1
    nested = [step.type for step in pipelines(load(MASK_RCNN))]
    assert nested.count('RandomChoiceResize') == 3  # inside RandomChoice
    assert not {'ADE20KDataset', 'CocoDataset', 'DefaultSampler'} & {*kinds, *nested}


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
