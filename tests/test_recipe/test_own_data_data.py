# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/data.py: loaders of any structure get the own data; test sets may be bare."""

from pathlib import Path

import mmdet
import mmseg
import pytest
from fixtures import COCO_CLASSES, MASK_RCNN, UPERNET, found, stem, write_image
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmconvnext.recipe.checks import check_recipe
from mmconvnext.recipe.checks.classes import check_class_names, check_num_classes
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.own_data.namespace import LINE
from mmconvnext.recipe.walk import LOADERS, datasets

DETECTORS = Path(mmdet.__path__[0], '.mim/configs')
SEGMENTORS = Path(mmseg.__path__[0], '.mim/configs')


def applied(config, own_data, change=None):
    cfg = Config.fromfile(config)
    if change:
        change(cfg)
    cfg.own_data = own_data
    apply_own_data(cfg)
    return cfg


# Joined and wrapped datasets


@pytest.mark.parametrize(
    ('config', 'inside'),
    [
        ('pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py', 'RepeatDataset'),
        ('pascal_voc/faster-rcnn_r50-caffe-c4_ms-18k_voc0712.py', None),
        ('lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py', 'ClassBalancedDataset'),
        ('yolox/yolox_s_8xb8-300e_coco.py', 'MultiImageMixDataset'),
        ('cityscapes/mask-rcnn_r50_fpn_1x_cityscapes.py', 'RepeatDataset'),
    ],
)
def test_a_detector_trains_on_every_image_once(coco_data, config, inside):
    cfg = applied(DETECTORS / config, coco_data)
    before = Config.fromfile(DETECTORS / config)
    ((_, dataset),) = datasets(cfg, LOADERS[:1])
    assert dataset.type == 'mmdet.CocoDataset'
    assert dataset.pipeline == next(datasets(before, LOADERS[:1]))[1].pipeline
    assert cfg.train_dataloader.dataset.type == (inside or 'mmdet.CocoDataset')
    init_default_scope('mmdet')
    built = DATASETS.build(dict(dataset, pipeline=[], filter_cfg=None))
    assert [built.get_data_info(i)['img_path'] for i in range(len(built))] == [
        f'{coco_data["root"]}/train/0.jpg'
    ]
    assert built.metainfo['classes'] == tuple(COCO_CLASSES)
    assert found(cfg, check_num_classes) == found(cfg, check_class_names) == []


@pytest.mark.parametrize(
    'config',
    [
        'pspnet/pspnet_r50-d8_4xb4-20k_voc12aug-512x512.py',
        'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py',
        'fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    ],
)
def test_a_segmentor_trains_on_every_image_once(seg_data, config):
    cfg = applied(SEGMENTORS / config, seg_data)
    for loader, split in zip(LOADERS, ('train', 'val', 'val')):
        ((_, dataset),) = datasets(cfg, (loader,))
        init_default_scope('mmseg')
        built = DATASETS.build(dict(dataset, pipeline=[]))
        assert [built.get_data_info(i)['seg_map_path'] for i in range(len(built))] == [
            f'{seg_data["root"]}/{split}/labels/a.png'
        ]


def test_datasets_that_differ_in_more_than_their_data_are_refused(coco_data):
    config = 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    message = r"train_dataloader\.dataset joins 2 datasets.* 0 and 1 differ in \[.*'pipeline'\]"
    with pytest.raises(RecipeError, match=message):
        applied(DETECTORS / config, coco_data)


def test_the_way_out_of_a_refusal(tmp_path, coco_data):
    base = DETECTORS / 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    file = tmp_path / 'mine.py'
    file.write_text(
        f'_base_ = {str(base)!r}\nown_data = {coco_data!r}\n'
        'parts = _base_.train_dataloader.dataset.datasets\n'
        'train_dataloader = dict(\n'
        '    dataset=dict(_delete_=True, pipeline=parts[0].pipeline),\n'
        "    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),\n)\n"
        f'{LINE}\n'
    )
    cfg = Config.fromfile(file)
    assert cfg.train_dataloader.dataset.type == 'mmdet.CocoDataset'
    assert cfg.train_dataloader.dataset.pipeline == cfg.labeled_dataset.pipeline
    assert cfg.model.detector.roi_head.bbox_head.num_classes == 2


def test_a_sampler_that_counts_the_joined_datasets_is_refused(load, coco_data):
    cfg = load(MASK_RCNN)
    one = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, one])
    cfg.train_dataloader.sampler = dict(type='GroupMultiSourceSampler', source_ratio=[1, 4])
    cfg.own_data = coco_data
    message = r'sampler is GroupMultiSourceSampler, .*write sampler=dict\(_delete_=True'
    with pytest.raises(RecipeError, match=message):
        apply_own_data(cfg)


def test_metrics_of_joined_datasets_become_one(load, coco_data):
    cfg = load(MASK_RCNN)
    cfg.val_evaluator = dict(
        type='MultiDatasetsEvaluator',
        metrics=[dict(type='VOCMetric'), dict(type='CityScapesMetric')],
        dataset_prefixes=['a', 'b'],
    )
    cfg.test_evaluator = dict(cfg.test_evaluator, format_only=True)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg.val_evaluator == [
        dict(
            type='mmdet.CocoMetric',
            metric=['bbox', 'segm'],
            ann_file=f'{coco_data["root"]}/val.json',
        )
    ]
    assert 'format_only' not in cfg.test_evaluator


def test_what_only_the_type_of_the_base_takes_goes(seg_data):
    config = SEGMENTORS / 'pspnet/pspnet_r50-d8_4xb4-20k_voc12aug-512x512.py'
    cfg = applied(config, seg_data, lambda cfg: cfg.val_dataloader.dataset.update(ignore_index=7))
    assert cfg.val_dataloader.dataset.ignore_index == 7
    assert 'ann_file' not in cfg.val_dataloader.dataset  # VOC's list of its own images


# Test sets without annotations


@pytest.fixture
def bare(coco_data, seg_data):
    """A function: own data of the config's kind, whose test set is a folder of images."""

    def make(config):
        own_data = seg_data if config == UPERNET else coco_data
        for name in ('b.jpg', 'a.JPG', 'in/c.jpg'):
            write_image(Path(own_data['root'], 'bare', name), [[[90] * 3] * 64] * 64)
        Path(own_data['root'], 'bare/notes.txt').touch()
        return dict(own_data, test=dict(images='bare'))

    return make


@pytest.mark.parametrize('config', [MASK_RCNN, UPERNET], ids=stem)
def test_nothing_asks_for_annotations(load, bare, config):
    cfg = load(config)
    cfg.own_data = bare(config)
    apply_own_data(cfg)
    assert 'LoadAnnotations' in str(cfg.val_dataloader)
    assert 'LoadAnnotations' not in str([cfg.test_dataloader, cfg.get('tta_pipeline')])
    assert check_recipe(cfg, LOADERS[2:]) == []
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    names = [Path(dataset.get_data_info(i)['img_path']).name for i in range(len(dataset))]
    # mmseg takes one suffix, own_data.image_suffix, as it is spelt
    assert names == (['a.JPG', 'b.jpg', 'c.jpg'] if config == MASK_RCNN else ['b.jpg', 'c.jpg'])
    assert dataset[0]['inputs'].shape[0] == 3
    assert dataset.metainfo['classes'] == tuple(cfg.own_data.classes)
    if config == MASK_RCNN:
        assert cfg.test_evaluator == []
        assert cfg.val_evaluator.ann_file.endswith('/val.json')
    else:
        assert cfg.test_evaluator.format_only and 'format_only' not in cfg.val_evaluator


def test_a_split_to_learn_or_measure_has_annotations(load, coco_data):
    for name in ('train', 'val'):
        cfg = load(MASK_RCNN)
        cfg.own_data = dict(coco_data, **{name: dict(images='x')})
        with pytest.raises(RecipeError, match=rf"own_data\.{name} lacks \['annotations'\]"):
            apply_own_data(cfg)
