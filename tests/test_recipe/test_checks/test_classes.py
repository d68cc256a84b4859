# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/classes.py: heads and datasets agree on the classes, or training never starts."""

import pytest
from fixtures import CASCADE, MASK_RCNN, UPERNET, found, public_config, stem
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config

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
        RecipeError, match=r'classes of val_dataloader\.dataset is 80, but train_\S* has 3'
    ):
        found(cfg, check_num_classes)


def test_an_rpn_with_one_class_is_no_mistake(own):
    own.model.rpn_head.num_classes = 1
    found(own, check_num_classes)


@pytest.mark.parametrize(
    'config',
    [
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
        'maskformer/maskformer_r50_ms-16xb1-75e_coco.py',
        'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
        'htc/htc_r50_fpn_1x_coco.py',
    ],
)
def test_heads_of_things_and_stuff(config):
    cfg = get_config(f'mmdet::{config}')
    assert found(cfg, check_num_classes) == []
    heads = cfg.model.setdefault('roi_head', ConfigDict(mask_head=dict())).mask_head
    (heads[-1] if isinstance(heads, list) else heads).num_classes = 79
    with pytest.raises(RecipeError, match=r'mask_head.*\.num_classes is 79, but .* has 80 '):
        found(cfg, check_num_classes)


@pytest.mark.parametrize('things, stuff', [(80, 1), (79, 1), (133, 0)])
def test_things_and_stuff_that_are_not_the_classes(things, stuff):
    cfg = get_config('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py')
    head = cfg.model.panoptic_fusion_head
    head.num_things_classes, head.num_stuff_classes = things, stuff
    match = r'panoptic_fusion_head\.num_things_classes.* is (81|79|133), but .* has 80 classes'
    with pytest.raises(RecipeError, match=match):
        found(cfg, check_num_classes)


def test_panoptic_data_with_other_classes():
    cfg = get_config('mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py')
    for loader in LOADERS:
        cfg[loader].dataset.metainfo = dict(classes=('cat', 'dog', 'sky'))
    for head in (cfg.model.semantic_head, cfg.model.panoptic_fusion_head):
        head.num_things_classes, head.num_stuff_classes = 2, 1
    cfg.model.roi_head.bbox_head.num_classes = cfg.model.roi_head.mask_head.num_classes = 2
    assert found(cfg, check_num_classes) == []
    cfg.model.semantic_head.num_stuff_classes = 53
    with pytest.raises(
        RecipeError, match=r'num_stuff_classes is 55, but .* has 3 classes; set .*stuff_classes='
    ):
        found(cfg, check_num_classes)


def test_heads_that_have_classes_of_their_own():
    cfg = Config.fromfile(public_config('mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024.py'))
    assert cfg.model.auxiliary_head[2].num_classes == 2
    assert found(cfg, check_num_classes) == []
    cfg.model.auxiliary_head[1].num_classes = 2
    with pytest.raises(
        RecipeError, match=r'auxiliary_head\.1\.num_classes is 2, but .* 19 classes'
    ):
        found(cfg, check_num_classes)


def tracker(config):
    return Config.fromfile(public_config(f'mmdet::{config}'))


@pytest.mark.parametrize('train', [False, True], ids=['tested', 'trained'])
def test_a_tracker_counts_pedestrians_not_all_kinds_of_its_data(train):
    folder, name = ('qdtrack', 'qdtrack') if train else ('deepsort', 'deepsort')
    cfg = tracker(
        f'{folder}/{name}_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py'
    )
    assert found(cfg, check_num_classes) == []
    if train:
        cfg.model.detector.roi_head.bbox_head.num_classes = 2
        with pytest.raises(RecipeError, match=r'bbox_head\.num_classes is 2, but .* has 1 classes'):
            found(cfg, check_num_classes)


def test_a_detector_that_is_told_names_in_words(load):
    cfg = load(MASK_RCNN)
    cfg.model.language_model = dict(type='BertModel')
    cfg.model.bbox_head = dict(num_classes=256, contrastive_cfg=dict(max_text_len=256))
    cfg.train_dataloader.dataset.type = 'ODVGDataset'
    assert found(cfg, check_num_classes) == found(cfg, check_class_names) == []
    cfg.model.last_head = dict(num_classes=7)  # behind the one that is passed over
    with pytest.raises(RecipeError, match=r'model\.last_head\.num_classes is 7, but'):
        found(cfg, check_num_classes)
    cfg.model.bbox_head.num_classes = 79
    with pytest.raises(RecipeError, match=r'model\.bbox_head\.num_classes is 79, but'):
        found(cfg, check_num_classes)


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


@pytest.mark.parametrize(
    'classes, message',
    [
        ({'cat', 'dog'}, r'metainfo\.classes is the set \{.*write a list or a tuple'),
        (dict(cat=0, dog=1), r'metainfo\.classes is the .*ict \{.*write a list or a tuple'),
        (2, r'metainfo\.classes is the int 2, .*write a list or a tuple'),
        ([1, 2], r'metainfo\.classes contains 1, which is not a name'),
        ([['cat'], ['dog']], r"metainfo\.classes contains \['cat'\], which is not a name"),
    ],
)
def test_classes_that_are_no_list_of_names(own, classes, message):
    for loader in LOADERS:
        own[loader].dataset.metainfo = dict(classes=classes)
    found(own, check_num_classes)
    with pytest.raises(RecipeError, match=message):
        found(own, check_class_names)
    own.checks = dict(class_names=False)
    assert len(found(own, check_class_names)) == 3


@pytest.mark.parametrize('named', [0, 1])
def test_classes_in_one_loader_only(load, seg_data, named):
    cfg = load(UPERNET)
    cfg.own_data = seg_data
    apply_own_data(cfg)
    for loader in LOADERS[1 - named :: 2]:
        del cfg[loader].dataset.metainfo
    with pytest.raises(
        RecipeError,
        match=rf'{LOADERS[1 - named]}\.dataset has no classes, {LOADERS[named]}\.dataset has 3;',
    ):
        found(cfg, check_class_names)


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
    with pytest.raises(RecipeError, match=r'metainfo\.CLASSES has no effect; write classes'):
        found(own, check_class_names)
