# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/masks.py: data whose masks the pipeline cannot use are refused before training."""

import copy
import json

import pytest
from fixtures import FASTER_RCNN, MASK_RCNN, found

from mmconvnext.recipe.checks.masks import check_masks
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.walk import LOADERS, dicts

RLE = dict(size=[8, 8], counts=[0, 64])
POLYGON = [[0, 0, 4, 0, 4, 4]]


@pytest.fixture
def own(load, tmp_path):
    """A config whose training annotations have the given masks; None is boxes only."""

    def build(recipe, *masks):
        annotations = [dict(id=i, bbox=[0, 0, 4, 4]) for i in range(len(masks))]
        for annotation, mask in zip(annotations, masks):
            if mask is not None:
                annotation['segmentation'] = mask
        file = tmp_path / 'train.json'
        file.write_text(
            json.dumps(dict(images=[], annotations=annotations, categories=[]), indent=1)
        )
        cfg = load(recipe)
        cfg.train_dataloader.dataset.update(data_root=str(tmp_path), ann_file='train.json')
        cfg.train_dataloader.dataset.type = 'LVISV1Dataset'
        return cfg

    return build


def poly2mask(cfg, value):
    for _, node in dicts(cfg.train_dataloader):
        if node.get('type') == 'LoadAnnotations':
            node.poly2mask = value
    return cfg


def test_boxes_without_masks_name_the_recipe_for_them(own):
    with pytest.raises(
        RecipeError,
        match=r'^train_dataloader\.dataset: \S+/train\.json has boxes but no masks.*faster_rcnn',
    ):
        found(own(MASK_RCNN, None, None), check_masks)
    assert found(own(FASTER_RCNN, None, None), check_masks) == []


def test_rle_masks_need_poly2mask(own):
    with pytest.raises(
        RecipeError,
        match=r'^train_dataloader\.dataset: 0 of 2 masks are usable: \S+/train\.json .* need poly2',
    ):
        found(poly2mask(own(MASK_RCNN, RLE, RLE), False), check_masks)
    assert found(poly2mask(own(MASK_RCNN, RLE, RLE), True), check_masks) == []
    assert found(own(MASK_RCNN, RLE, RLE), check_masks) == []


@pytest.mark.parametrize('content', [None, ''])
def test_a_file_that_cannot_be_read_is_left_to_the_other_checks(own, tmp_path, content):
    cfg = own(MASK_RCNN, POLYGON)
    (tmp_path / 'train.json').unlink()
    if content is not None:
        (tmp_path / 'train.json').write_text(content)
    assert found(cfg, check_masks) == []


def test_polygons_pass_beside_a_crowd(own):
    assert found(poly2mask(own(MASK_RCNN, POLYGON, RLE), False), check_masks) == []
    assert found(poly2mask(own(MASK_RCNN, POLYGON, POLYGON), False), check_masks) == []


def test_two_hundred_masks_are_looked_at(own):
    assert found(poly2mask(own(MASK_RCNN, *[RLE] * 199, POLYGON), False), check_masks) == []
    with pytest.raises(RecipeError, match='0 of 200 masks are usable'):
        found(poly2mask(own(MASK_RCNN, *[RLE] * 200, POLYGON), False), check_masks)


@pytest.mark.parametrize(
    'change', [dict(backend_args=dict(backend='petrel')), dict(ann_file='train.txt')]
)
def test_other_files_are_left_alone(own, tmp_path, change):
    cfg = own(MASK_RCNN, None)
    (tmp_path / 'train.txt').write_text('{}')
    cfg.train_dataloader.dataset.update(change)
    assert found(cfg, check_masks) == []


def test_masks_of_coco_files_are_judged_one_by_one_before(own):
    cfg = own(MASK_RCNN, None)
    cfg.train_dataloader.dataset.type = 'CocoDataset'
    assert found(cfg, check_masks) == []


def test_a_dataset_that_cannot_be_read_hides_no_other(own):
    cfg = own(MASK_RCNN, None)
    second = copy.deepcopy(cfg.train_dataloader.dataset)
    for change in (dict(ann_file='train.txt'), dict(ann_file='gone.json')):
        first = copy.deepcopy(second)
        first.update(change)
        cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[first, second])
        with pytest.raises(RecipeError, match=r'datasets\.1: .* has boxes but no masks'):
            found(cfg, check_masks)


def test_only_training_needs_masks(own):
    assert found(own(MASK_RCNN, None), check_masks, LOADERS[1:]) == []
