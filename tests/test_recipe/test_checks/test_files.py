# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/files.py: the error for missing data shows the expected layout."""

from pathlib import Path

import pytest
from fixtures import MASK_RCNN, UPERNET

from mmconvnext.recipe.checks.files import check_files, local_paths
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.walk import LOADERS


@pytest.fixture
def own(load, coco_data):
    cfg = load(MASK_RCNN)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    return cfg


def test_complete_data_pass(own, load, seg_data):
    check_files(own, LOADERS)
    cfg = load(UPERNET)
    cfg.own_data = seg_data
    apply_own_data(cfg)
    check_files(cfg, LOADERS)


def test_a_remote_dataset_hides_no_missing_one(own):
    own.train_dataloader.dataset.data_root = 's3://bucket'
    own.val_dataloader.dataset.ann_file = 'gone.json'
    with pytest.raises(RecipeError, match=r'val_dataloader\.dataset: .*gone\.json does not exist'):
        check_files(own, LOADERS)


@pytest.mark.parametrize(
    'recipe, root, below',
    [
        (MASK_RCNN, 'data/coco', ('annotations/instances_train2017.json', 'train2017')),
        (UPERNET, 'data/ade/ADEChallengeData2016', ('images/training', 'annotations/training')),
    ],
    ids=['coco', 'ade20k'],
)
def test_a_missing_root_draws_the_layout(load, tmp_path, monkeypatch, recipe, root, below):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RecipeError, match=f'train_dataloader.dataset: {root} does not exist. Expected layout:\n'
    ) as caught:
        check_files(load(recipe), LOADERS)
    message = str(caught.value)
    for path in (root, *(f'{root}/{part}' for part in below)):
        assert f'  {path}   <- missing\n' in message
    assert 'own_data' in message and '--toy' in message


@pytest.mark.parametrize('recipe', [MASK_RCNN, UPERNET])
def test_a_saved_config_with_the_parts_of_another_user(load, coco_data, seg_data, tmp_path, recipe):
    cfg, data = load(recipe), coco_data if recipe == MASK_RCNN else seg_data
    data['train']['names'] = ['0' if recipe == MASK_RCNN else 'a']
    cfg.own_data = data
    apply_own_data(cfg)
    check_files(cfg, LOADERS)
    dataset = cfg.train_dataloader.dataset
    dataset.ann_file = f'{tmp_path}/other/mmconvnext/splits/{Path(dataset.ann_file).name}'
    match = f'{dataset.ann_file} does not exist; .*: use the config that you wrote'
    with pytest.raises(RecipeError, match=match):
        check_files(cfg, LOADERS)


def test_only_what_is_missing_is_marked(own, coco_data):
    root = coco_data['root']
    own.val_dataloader.dataset.ann_file = 'valid.json'
    with pytest.raises(
        RecipeError, match=f'val_dataloader.dataset: {root}/valid.json does not exist'
    ) as caught:
        check_files(own, LOADERS)
    marked = [line for line in str(caught.value).splitlines() if line.endswith('<- missing')]
    assert marked == [f'  {root}/valid.json   <- missing']
    assert f'\n  {root}/val\n' in str(caught.value)


def test_only_the_loaders_in_question_are_looked_at(own):
    own.train_dataloader.dataset.ann_file = 'gone.json'
    check_files(own, LOADERS[2:])
    with pytest.raises(RecipeError, match='gone.json does not exist'):
        check_files(own, LOADERS[:1])


@pytest.mark.parametrize(
    'change', [dict(data_root='s3://bucket/coco'), dict(backend_args=dict(backend='petrel'))]
)
def test_remote_data_are_left_to_mmengine(own, change):
    for loader in LOADERS:
        own[loader].dataset.update(data_root='nowhere')
        own[loader].dataset.update(change)
    check_files(own, LOADERS)
    own.train_dataloader.dataset.update(data_root='nowhere', backend_args=dict(backend='local'))
    with pytest.raises(RecipeError, match='nowhere does not exist'):
        check_files(own, LOADERS)


def test_a_list_of_annotation_files(own):
    own.train_dataloader.dataset.ann_file = ['a.json', 'b.json']
    with pytest.raises(RecipeError, match=r"ann_file=\['a.json', 'b.json'\] must be .*ConcatData"):
        check_files(own, LOADERS)


def test_paths_are_joined_as_the_datasets_join_them():
    dataset = dict(data_root='data/x/', ann_file='/abs/a.json', data_prefix=dict(img='train/'))
    assert local_paths(dataset) == ['data/x', '/abs/a.json', 'data/x/train']
    assert local_paths(dict(ann_file='a.json', data_prefix=dict(img=''))) == ['a.json']
    assert local_paths(dict(data_root='r')) == ['r']


def test_the_annotation_file_of_an_evaluator_is_looked_for(own):
    own.val_evaluator.ann_file = 'elsewhere.json'
    with pytest.raises(RecipeError, match='CocoMetric of an evaluator reads elsewhere.json'):
        check_files(own, LOADERS)
    own.val_evaluator.ann_file = 's3://bucket/elsewhere.json'
    check_files(own, LOADERS)
    own.test_evaluator = [dict(type='A'), dict(type='mmdet.B', ann_file='else where.json')]
    with pytest.raises(RecipeError, match='the B of an evaluator reads else where.json, which'):
        check_files(own, LOADERS)
