# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/classes.py: heads, metainfo and COCO categories agree, or training never starts."""

from pathlib import Path

import pytest
from fixtures import CASCADE, MASK_RCNN, UPERNET, stem, write_coco_file
from mmengine.config import ConfigDict

from mmconvnext.recipe.checks.classes import (
    check_categories,
    check_num_classes,
    class_names,
    read_categories,
)
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.walk import LOADERS


@pytest.fixture
def own(load, coco_data):
    cfg = load(CASCADE)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    return cfg


def test_names_come_from_metainfo_or_the_dataset_type(load, own):
    assert class_names(own, own.train_dataloader.dataset) == ('cat', 'dog')
    coco = load(MASK_RCNN)
    names = class_names(coco, coco.val_dataloader.dataset)
    assert len(names) == 80 and names[0] == 'person'
    ade = load(UPERNET)
    names = class_names(ade, ade.train_dataloader.dataset)
    assert len(names) == 150 and names[0] == 'wall'


def test_one_class_may_be_a_string(own):
    own.train_dataloader.dataset.metainfo = dict(classes='cat')
    assert class_names(own, own.train_dataloader.dataset) == ('cat',)


def test_an_unknown_dataset_type_has_no_names(own):
    assert class_names(own, ConfigDict(type='NotRegistered')) == ()


@pytest.mark.parametrize('recipe', [MASK_RCNN, CASCADE, UPERNET], ids=stem)
def test_recipes_agree_with_themselves(load, recipe):
    check_num_classes(load(recipe), LOADERS)


@pytest.mark.parametrize('stage', [0, 1, 2])
def test_one_of_three_cascade_heads_disagrees(own, stage):
    check_num_classes(own, LOADERS)
    own.model.roi_head.bbox_head[stage].num_classes = 80
    with pytest.raises(
        RecipeError,
        match=rf'model\.roi_head\.bbox_head\.{stage}\.num_classes is 80, but '
        r'train_dataloader\.dataset has 2 classes; set both at once with own_data',
    ):
        check_num_classes(own, LOADERS)


def test_mask_head_and_segmentation_heads(load, own):
    own.model.roi_head.mask_head.num_classes = 3
    with pytest.raises(RecipeError, match=r'mask_head\.num_classes is 3, but .* has 2 classes'):
        check_num_classes(own, LOADERS)
    cfg = load(UPERNET)
    cfg.model.auxiliary_head.num_classes = 19
    with pytest.raises(RecipeError, match=r'auxiliary_head\.num_classes is 19, but .* 150 classes'):
        check_num_classes(cfg, LOADERS)


def test_metainfo_changed_in_one_loader_only(load):
    cfg = load(MASK_RCNN)
    cfg.train_dataloader.dataset.metainfo = dict(classes=('a', 'b', 'c'))
    with pytest.raises(
        RecipeError, match=r'val_dataloader\.dataset is 80, but train_dataloader\.dataset has 3'
    ):
        check_num_classes(cfg, LOADERS)


def test_an_rpn_with_one_class_is_no_mistake(own):
    own.model.rpn_head.num_classes = 1
    check_num_classes(own, LOADERS)


def test_matching_names_pass_in_silence(own):
    assert check_categories(own, LOADERS) == []


def test_no_name_matches(own, coco_data):
    for loader in LOADERS:
        own[loader].dataset.metainfo = dict(classes=('Cat', 'Dog'))
    with pytest.raises(
        RecipeError,
        match=r'train_dataloader\.dataset: 0 of 2 class names match a category of .*train\.json: '
        r"\['Cat', 'Dog'\] against \['cat', 'dog'\]; set own_data\.classes",
    ):
        check_categories(own, LOADERS)


def test_coco_names_on_a_file_of_other_categories_are_cut_short(load, own):
    for loader in LOADERS:
        own[loader].dataset.pop('metainfo')  # mmdet's default: the 80 names of COCO
    write_coco_file(Path(own.train_dataloader.dataset.data_root) / 'train.json', ('x', 'y'))
    with pytest.raises(
        RecipeError, match=r"0 of 80 .*'motorcycle', 'airplane', \.\.\.\] against \['x', 'y'\]"
    ):
        check_categories(own, LOADERS)


def test_some_names_missing_is_a_warning(own):
    own.val_dataloader.dataset.metainfo = dict(classes=('cat', 'dig'))
    (warning,) = check_categories(own, LOADERS)
    assert warning.startswith('val_dataloader.dataset: no category of ')
    assert warning.endswith("val.json is called ['dig']")


def test_remote_and_other_files_are_not_opened(own):
    for loader in LOADERS:
        own[loader].dataset.ann_file = 'list.txt'
    own.train_dataloader.dataset.update(ann_file='gone.json', data_root='s3://bucket')
    assert check_categories(own, LOADERS) == []


@pytest.mark.parametrize(
    'text',
    [
        '{"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b, [c]"}], "images": []}',
        '{"images": [], "annotations": [], "categories":[{"name":"a"},{"name":"b, [c]"}]}',
        '{\n "categories" :\r\n [\n {"name": "a"},\n {"name": "b, [c]"} ]\n}\n',
    ],
)
def test_categories_are_read_wherever_they_stand(tmp_path, text):
    file = tmp_path / 'a.json'
    file.write_bytes(text.encode())
    assert read_categories(str(file)) == ['a', 'b, [c]']


@pytest.mark.parametrize(
    'text, message',
    [
        ('', 'is no COCO annotation file: it is empty'),
        ('{"images": []}', 'is no COCO annotation file: it has no "categories"'),
        ('{"categories": [{"id": 1}]}', 'its "categories" cannot be read'),
        ('{"categories": [{"id": 1, "na', 'its "categories" cannot be read'),
        ('{"categories": ["a", "b"]}', 'its "categories" cannot be read'),
    ],
)
def test_files_that_are_not_coco(tmp_path, text, message):
    file = tmp_path / 'a.json'
    file.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_categories(str(file))
