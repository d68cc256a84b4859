# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/split.py: every dataset and wrapper, and what filter_cfg leaves out."""

import coco_files
import pytest
from dataset_files import CLASSES, COLOURS, detection, segmentation

from mmconvnext.analysis.dataset.split import Split
from mmconvnext.recipe.errors import RecipeError


def wrapped(cfg, wrapper, **settings):
    loader = cfg.train_dataloader
    loader.dataset = dict(type=wrapper, dataset=loader.dataset, **settings)
    return cfg


def test_classes_and_colours(tmp_path):
    split = Split(detection(tmp_path), 'train_dataloader')
    assert (split.name, split.classes, split.colours) == ('train', list(CLASSES), COLOURS)
    assert len(split.dataset) == 3 and split.place(2) == (0, 2) and split.turns


def test_a_palette_that_is_a_name_or_too_short_gives_distinct_colours(tmp_path):
    cfg = detection(tmp_path)
    for palette in ('random', [(1, 2, 3)]):
        cfg.train_dataloader.dataset.metainfo.palette = palette
        colours = Split(cfg, 'train_dataloader').colours
        assert len({*colours}) == 2 and (1, 2, 3) not in colours


def test_images_that_the_filter_leaves_out_are_known(tmp_path):
    content = coco_files.content(3)
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 2]
    cfg = detection(tmp_path, content)
    cfg.train_dataloader.dataset.serialize_data = True  # as in real configs
    split = Split(cfg, 'train_dataloader')
    assert len(split.dataset) == 2
    assert [info['img_id'] for info in split.left_out[0]] == [2]


def test_without_a_filter_nothing_is_left_out(tmp_path):
    content = coco_files.content(3)
    content['annotations'] = content['annotations'][:1]
    cfg = detection(tmp_path, content)
    cfg.train_dataloader.dataset.pop('filter_cfg')
    split = Split(cfg, 'train_dataloader')
    assert len(split.dataset) == 3 and split.left_out == [[]]


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'MultiImageMixDataset'])
def test_wrappers(tmp_path, wrapper):
    settings = dict(times=2) if wrapper == 'RepeatDataset' else dict(pipeline=[])
    split = Split(wrapped(detection(tmp_path), wrapper, **settings), 'train_dataloader')
    assert len(split.parts) == 1 and len(split.dataset) == 3 * settings.get('times', 1)
    assert split.place(len(split.dataset) - 1) == (0, 2)


def test_class_balanced(tmp_path):
    cfg = wrapped(detection(tmp_path), 'ClassBalancedDataset', oversample_thr=0.9)
    split = Split(cfg, 'train_dataloader')
    assert split.place(len(split.dataset) - 1) == (0, 2)


def test_joined_datasets(tmp_path):
    cfg = detection(tmp_path)
    one, other = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, other])
    split = Split(cfg, 'train_dataloader')
    assert len(split.parts) == 2 and len(split.dataset) == 4
    assert [split.place(i) for i in (2, 3)] == [(0, 2), (1, 0)]


def test_label_maps(tmp_path):
    split = Split(segmentation(tmp_path), 'train_dataloader')
    assert split.classes == ['soil', 'crop', 'weed'] and len(split.dataset) == 3


def test_a_dataset_that_cannot_be_built_is_a_message(tmp_path):
    cfg = detection(tmp_path)
    cfg.train_dataloader.dataset.ann_file = 'none.json'
    with pytest.raises(RecipeError, match=r'train_dataloader.dataset cannot be built: .*none.json'):
        Split(cfg, 'train_dataloader')


def test_a_dataset_without_images_is_a_message(tmp_path):
    cfg = detection(tmp_path, dict(coco_files.content(3), annotations=[]))
    match = 'train_dataloader has no images: 3 are listed, of which filter_cfg leaves out 3'
    with pytest.raises(RecipeError, match=match):
        Split(cfg, 'train_dataloader')


def test_the_config_stays_as_it_is(tmp_path):
    cfg = detection(tmp_path)
    before = cfg.pretty_text
    Split(cfg, 'train_dataloader')
    assert cfg.pretty_text == before
