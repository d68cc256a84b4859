# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks: all checks run, those of training for training alone, each under its name."""

import pytest
from fixtures import MASK_RCNN, UPERNET

from mmconvnext.recipe.checks import check_recipe
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data

TRAIN, TEST = ('train_dataloader', 'val_dataloader', 'test_dataloader'), ('test_dataloader',)


@pytest.fixture
def own(load, coco_data, seg_data):
    """A function that gives a recipe on data that fit; a few warnings are all there is."""

    def build(config):
        cfg = load(MASK_RCNN if config == 'coco' else UPERNET)
        cfg.own_data = coco_data if config == 'coco' else seg_data
        apply_own_data(cfg)
        assert all('no object of' in line for line in check_recipe(cfg))
        return cfg

    return build


@pytest.mark.parametrize(
    ('config', 'name', 'key', 'value', 'training'),
    [
        ('coco', 'channels', 'model.neck.in_channels', [1, 2, 3, 4], False),
        ('coco', 'files', 'test_dataloader.dataset.data_root', 'gone', False),
        ('coco', 'num_classes', 'model.roi_head.bbox_head.num_classes', 9, False),
        ('coco', 'class_names', 'test_dataloader.dataset.metainfo.CLASSES', 9, False),
        ('coco', 'missing_class', 'test_dataloader.dataset.metainfo.classes', ['a', 'b'], False),
        ('coco', 'unread_options', 'optim_wrapper.constructor', None, True),
        ('coco', 'group_hooks', 'custom_hooks', [dict(type='YOLOv5ParamSchedulerHook')], True),
        ('coco', 'unused_maps', 'model.neck.start_level', 1, True),
        ('ade', 'batch_norm', 'train_dataloader.batch_size', 1, True),
        ('ade', 'label_ids', 'test_dataloader.dataset.reduce_zero_label', True, False),
        ('ade', 'files', 'test_dataloader.dataset.data_prefix.img_path', 'gone', False),
    ],
)
def test_each_check_runs_and_gives_way_to_its_name(own, config, name, key, value, training):
    cfg = own(config)
    if name == 'unused_maps':
        cfg.launcher = 'pytorch'
    if name == 'label_ids':
        for loader in TRAIN:  # with a class fewer, id 2 is beyond
            cfg[loader].dataset.metainfo = dict(classes=('a',))
        cfg.model.decode_head.num_classes = cfg.model.auxiliary_head.num_classes = 1
        key, value = 'x', 1
    cfg.merge_from_dict({key: value})
    if training:
        check_recipe(cfg, TEST)
    loaders = TRAIN if training else TEST
    with pytest.raises(RecipeError, match=rf'\n\(checks\.{name}=False in the config lets this'):
        check_recipe(cfg, loaders)
    others = ('missing_class', 'files', 'label_maps', 'one_class')  # of the same fault
    cfg.checks = {key: False for key in (name, *others)}
    warnings = check_recipe(cfg, loaders)
    assert any(line.endswith(f'(passed by checks.{name}=False)') for line in warnings)


def test_names_come_first_and_all_loaders_count_by_default(own):
    cfg = own('coco')
    cfg.model.neck.in_channels = [1, 2, 3, 4]
    cfg.model.backbone.type = 'ConvNeXt'
    with pytest.raises(RecipeError, match='is not registered'):
        check_recipe(cfg)
    cfg = own('coco')
    cfg.optim_wrapper.constructor = 'LayerDecayOptimWrapperConstructor'
    with pytest.raises(RecipeError, match='is not registered'):
        check_recipe(cfg)
    check_recipe(cfg, TEST)
    for loader in TRAIN:
        cfg = own('coco')
        cfg[loader].dataset.ann_file = 'gone.json'
        with pytest.raises(RecipeError, match=rf'^{loader}\.dataset: .*gone\.json does not exist'):
            check_recipe(cfg)
