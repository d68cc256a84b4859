# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/classes.py: heads and datasets agree on the classes, or training never starts."""

import pytest
from fixtures import CASCADE, MASK_RCNN, UPERNET, found, stem
from mmengine.config import ConfigDict

from mmconvnext.recipe.checks.classes import check_class_names, check_num_classes, class_names
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


def test_a_string_is_a_file_of_names_as_for_mmengine(own, tmp_path):
    (tmp_path / 'names.txt').write_text('cat\ntraffic light\n')
    dataset = own.train_dataloader.dataset
    dataset.metainfo = dict(classes=str(tmp_path / 'names.txt'))
    assert class_names(own, dataset) == ('cat', 'traffic light')


def test_an_unknown_dataset_type_has_no_names(own):
    assert class_names(own, ConfigDict(type='NotRegistered')) == ()


@pytest.mark.parametrize('recipe', [MASK_RCNN, CASCADE, UPERNET], ids=stem)
def test_recipes_agree_with_themselves(load, recipe):
    found(load(recipe), check_num_classes)


@pytest.mark.parametrize('stage', [0, 1, 2])
def test_one_of_three_cascade_heads_disagrees(own, stage):
    found(own, check_num_classes)
    own.model.roi_head.bbox_head[stage].num_classes = 80
    with pytest.raises(
        RecipeError,
        match=rf'model\.roi_head\.bbox_head\.{stage}\.num_classes is 80, but '
        r'train_dataloader\.dataset has 2 classes; set both at once with own_data',
    ):
        found(own, check_num_classes)


def test_mask_head_and_segmentation_heads(load, own):
    own.model.roi_head.mask_head.num_classes = 3
    with pytest.raises(RecipeError, match=r'mask_head\.num_classes is 3, but .* has 2 classes'):
        found(own, check_num_classes)
    cfg = load(UPERNET)
    cfg.model.auxiliary_head.num_classes = 19
    with pytest.raises(RecipeError, match=r'auxiliary_head\.num_classes is 19, but .* 150 classes'):
        found(cfg, check_num_classes)


def test_metainfo_changed_in_one_loader_only(load):
    cfg = load(MASK_RCNN)
    cfg.train_dataloader.dataset.metainfo = dict(classes=('a', 'b', 'c'))
    with pytest.raises(
        RecipeError, match=r'val_dataloader\.dataset is 80, but train_dataloader\.dataset has 3'
    ):
        found(cfg, check_num_classes)


def test_an_rpn_with_one_class_is_no_mistake(own):
    own.model.rpn_head.num_classes = 1
    found(own, check_num_classes)


# Names


@pytest.mark.parametrize('recipe', [MASK_RCNN, CASCADE, UPERNET], ids=stem)
def test_one_name_for_each_class(load, recipe):
    assert found(load(recipe), check_class_names) == []


def test_a_string_that_is_no_file(own):
    # mmengine keeps it, and mmdet takes 'c', 'a' and 't' for the names of classes.
    own.train_dataloader.dataset.metainfo = dict(classes='cat')
    with pytest.raises(
        RecipeError, match=r"metainfo\.classes is the string 'cat'.*write classes=\('cat',\)"
    ):
        found(own, check_class_names)


def test_names_differ_between_loaders(own):
    own.val_dataloader.dataset.metainfo = dict(classes=('dog', 'cat'))
    match = (
        r"val_dataloader\.dataset calls class 0 'dog', train_dataloader\.dataset calls it 'cat'; "
        r'write the same metainfo.*\n\(checks\.class_names=False'
    )
    with pytest.raises(RecipeError, match=match):
        found(own, check_class_names)
    own.checks = dict(class_names=False)
    assert len(found(own, check_class_names)) == 1


def test_names_differ_inside_a_concatenation(own):
    one = own.train_dataloader.dataset
    other = dict(one, metainfo=dict(classes=('cat', 'Dog')))
    own.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, other])
    with pytest.raises(RecipeError, match=r"dataset\.datasets\.1 calls class 1 'Dog'"):
        found(own, check_class_names)


def test_a_class_twice(own):
    for loader in LOADERS:
        own[loader].dataset.metainfo = dict(classes=('cat', 'cat'))
    with pytest.raises(RecipeError, match="has the class 'cat' twice"):
        found(own, check_class_names)


def test_a_key_that_nobody_reads(own):
    own.train_dataloader.dataset.metainfo = dict(CLASSES=('cat', 'dog'))
    with pytest.raises(RecipeError, match=r'nobody reads metainfo\.CLASSES; write classes'):
        found(own, check_class_names)
