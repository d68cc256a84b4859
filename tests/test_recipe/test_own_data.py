# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data.py: one dict sets everything that depends on the data; errors name gaps."""

import re
from pathlib import Path

import mmseg
import pytest
from fixtures import (
    CASCADE,
    COCO_CLASSES,
    FASTER_RCNN,
    MASK_RCNN,
    SEG_CLASSES,
    UPERNET,
    found,
    stem,
)
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DATASETS

from mmconvnext.recipe.checks.classes import check_class_names, check_num_classes
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.own_data.given import digest, read
from mmconvnext.recipe.own_data.kinds.instances import Instances
from mmconvnext.recipe.walk import LOADERS, datasets


def test_no_own_data_changes_nothing(load):
    cfg, before = load(UPERNET), load(UPERNET)
    apply_own_data(cfg)
    assert cfg.to_dict() == before.to_dict()


def test_detection_reaches_loaders_evaluators_and_heads(load, coco_data):
    cfg = load(CASCADE)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg.own_data == dict(coco_data, applied=digest(coco_data))
    for loader, split in zip(LOADERS, ('train', 'val', 'val')):
        dataset = cfg[loader].dataset
        assert dataset.type == 'mmdet.CocoDataset'
        assert dataset.data_root == coco_data['root']
        assert dataset.ann_file == f'{split}.json'
        assert dataset.data_prefix == dict(img=f'{split}/')
        assert dataset.metainfo.classes == tuple(COCO_CLASSES)
        assert len(dataset.metainfo.palette) == 2
    assert cfg.train_dataloader.dataset.filter_cfg.filter_empty_gt is True
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert evaluator.ann_file == f'{coco_data["root"]}/val.json'
        assert evaluator.metric == ['bbox', 'segm']
    assert [head.num_classes for head in cfg.model.roi_head.bbox_head] == [2, 2, 2]
    assert cfg.model.roi_head.mask_head.num_classes == 2
    assert '80' not in [str(v) for v in _values(cfg.model, 'num_classes')]


def test_detection_test_split_and_palette(load, coco_data):
    cfg = load(FASTER_RCNN)
    coco_data.update(
        test=dict(images='held_out', annotations='held_out.json'), palette=[[1, 2, 3], [4, 5, 6]]
    )
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg.val_dataloader.dataset.ann_file == 'val.json'
    assert cfg.test_dataloader.dataset.ann_file == 'held_out.json'
    assert cfg.test_dataloader.dataset.data_prefix.img == 'held_out/'
    assert cfg.val_evaluator.ann_file.endswith('/val.json')
    assert cfg.test_evaluator.ann_file.endswith('/held_out.json')
    for loader in LOADERS:
        assert cfg[loader].dataset.metainfo.palette == [(1, 2, 3), (4, 5, 6)]


@pytest.mark.parametrize('config', [FASTER_RCNN, UPERNET], ids=stem)
@pytest.mark.parametrize('count', [1, 81, 300])
def test_every_class_has_a_colour(load, coco_data, seg_data, config, count):
    cfg = load(config)
    data = coco_data if config == FASTER_RCNN else seg_data
    cfg.own_data = dict(data, classes=[f'class {i}' for i in range(count)])
    apply_own_data(cfg)
    for loader in LOADERS:
        palette = cfg[loader].dataset.metainfo.palette
        assert len(set(palette)) == count
        assert all(0 <= part <= 255 for colour in palette for part in colour)


@pytest.mark.parametrize('reduce', [False, True])
def test_segmentation_reaches_loaders_heads_and_all_pipelines(load, seg_data, reduce):
    cfg = load(UPERNET)
    if reduce:
        seg_data['reduce_zero_label'] = True
    cfg.own_data = seg_data
    apply_own_data(cfg)
    assert cfg.own_data == dict(seg_data, applied=digest(seg_data))
    for loader, split in zip(LOADERS, ('train', 'val', 'val')):
        dataset = cfg[loader].dataset
        assert dataset.type == 'mmseg.BaseSegDataset'
        assert dataset.data_root == seg_data['root']
        assert dataset.data_prefix == dict(
            img_path=f'{split}/images', seg_map_path=f'{split}/labels'
        )
        assert dataset.metainfo.classes == tuple(SEG_CLASSES)
        assert (dataset.img_suffix, dataset.seg_map_suffix) == ('.jpg', '.png')
        assert dataset.reduce_zero_label is reduce
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 3
    for pipeline in (*(cfg[loader].dataset.pipeline for loader in LOADERS), cfg.tta_pipeline):
        # None would take the dataset's: that is right as well.
        assert set(_values(pipeline, 'reduce_zero_label')) <= {reduce, None}
    assert _values(cfg.train_dataloader.dataset.pipeline, 'reduce_zero_label') == [reduce]


def test_segmentation_reaches_a_tta_pipeline_that_states_it(load, seg_data):
    cfg = load(UPERNET)
    cfg.merge_from_dict({'tta_pipeline.1.transforms.2.0.reduce_zero_label': True})
    cfg.own_data = seg_data
    apply_own_data(cfg)
    assert _values(cfg.tta_pipeline, 'reduce_zero_label') == [False]


def test_segmentation_suffixes(load, seg_data):
    cfg = load(UPERNET)
    cfg.own_data = dict(seg_data, image_suffix='.tif', label_suffix='_mask.png')
    apply_own_data(cfg)
    for loader in LOADERS:
        assert cfg[loader].dataset.img_suffix == '.tif'
        assert cfg[loader].dataset.seg_map_suffix == '_mask.png'


def test_datasets_inside_a_wrapper_are_set(load, coco_data):
    cfg = load(MASK_RCNN)
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=3, dataset=cfg.train_dataloader.dataset
    )
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg.train_dataloader.dataset.type == 'RepeatDataset'
    assert cfg.train_dataloader.dataset.dataset.ann_file == 'train.json'
    assert 'ann_file' not in cfg.train_dataloader.dataset


@pytest.mark.parametrize(
    'config',
    [
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
        'maskformer/maskformer_r50_ms-16xb1-75e_coco.py',
    ],
)
def test_mask2former_counts_things_and_stuff(coco_data, config):
    cfg = get_config(f'mmdet::{config}')
    if config.startswith('maskformer'):  # panoptic data: give it those of instances
        data = get_config('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py')
        for key in (*LOADERS, 'val_evaluator', 'test_evaluator'):
            cfg[key] = data[key]
    cfg.own_data = coco_data
    apply_own_data(cfg)
    for head in (cfg.model.panoptic_head, cfg.model.panoptic_fusion_head):
        assert (head.num_things_classes, head.num_stuff_classes) == (2, 0)
    assert cfg.model.panoptic_head.loss_cls.class_weight == [1.0, 1.0, 0.1]
    assert found(cfg, check_num_classes) == []


def test_mask2former_for_segmentation_weights_its_classes(seg_data):
    # By its path: mmengine resolves 'mmseg::' in one of the two stacks only.
    folder = Path(mmseg.__path__[0], '.mim/configs/mask2former')
    cfg = Config.fromfile(folder / 'mask2former_r50_8xb2-160k_ade20k-512x512.py')
    assert len(cfg.model.decode_head.loss_cls.class_weight) == 151
    cfg.own_data = seg_data
    apply_own_data(cfg)
    assert cfg.model.decode_head.loss_cls.class_weight == [1.0, 1.0, 1.0, 0.1]


def test_other_weights_of_classes_stay(load, coco_data):
    cfg = load(MASK_RCNN)
    cfg.model.roi_head.bbox_head.loss_cls.class_weight = [0.5] * 5
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg.model.roi_head.bbox_head.loss_cls.class_weight == [0.5] * 5


def test_nothing_of_the_data_of_the_base_stays(load, coco_data):
    cfg = load(MASK_RCNN)
    for loader in LOADERS:
        cfg[loader].dataset.metainfo = dict(classes=('a',), palette=[(1, 2, 3)])
        cfg[loader].dataset.data_prefix = dict(img='x/', seg='panoptic/')
    cfg.own_data = coco_data
    apply_own_data(cfg)
    for loader, split in zip(LOADERS, ('train', 'val', 'val')):
        assert set(cfg[loader].dataset.metainfo) == {'classes', 'palette'}
        assert cfg[loader].dataset.metainfo.classes == tuple(COCO_CLASSES)
        assert cfg[loader].dataset.data_prefix == dict(img=f'{split}/')
    assert cfg.train_dataloader.dataset.filter_cfg.filter_empty_gt is True


@pytest.mark.parametrize(
    'config, metric',
    [
        ('openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages.py', 'bbox'),
        ('pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py', 'bbox'),
        ('lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py', ['bbox', 'segm']),
    ],
)
def test_bases_of_other_data_become_coco(coco_data, config, metric):
    cfg = get_config(f'mmdet::{config}')
    cfg.own_data = coco_data
    apply_own_data(cfg)
    for _, dataset in datasets(cfg):
        assert DATASETS.build(dict(dataset, pipeline=[])).metainfo['classes'] == ('cat', 'dog')
        assert set(dataset.data_prefix) == {'img'}
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert evaluator == dict(
            type='mmdet.CocoMetric', metric=metric, ann_file=f'{coco_data["root"]}/val.json'
        )
    assert found(cfg, check_num_classes) == found(cfg, check_class_names) == []


def test_a_list_of_evaluators(load, coco_data):
    cfg = load(MASK_RCNN)
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='DumpDetResults', out_file_path='x.pkl')]
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg.val_evaluator[0].ann_file == f'{coco_data["root"]}/val.json'
    assert 'ann_file' not in cfg.val_evaluator[1]


def test_segmentation_without_label_maps_in_the_pipeline_keeps_it(load, seg_data):
    cfg = load(UPERNET)
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    cfg.own_data = seg_data
    apply_own_data(cfg)
    assert [step.type for step in cfg.train_dataloader.dataset.pipeline] == steps


@pytest.mark.parametrize(
    'change, message',
    [
        (
            dict(root=...),
            r"own_data lacks \['root'\]; it needs \['classes', 'root', 'train', 'val'\]",
        ),
        (dict(train=..., val=...), r"own_data lacks \['train', 'val'\]"),
        (
            dict(val=...),
            r"lacks \['val'\]; .*'test'\]; without files for validation write val=0\.2$",
        ),
        (
            dict(clases=['a']),
            r"own_data has unknown keys \['clases'\]; .* may have .*'bits', 'channels', .*'test'\]",
        ),
        (dict(reduce_zero_label=True), r"own_data has unknown keys \['reduce_zero_label'\]"),
        (dict(train=dict(images='train')), r"own_data\.train lacks \['annotations'\]; it needs"),
        (
            dict(val=dict(images='a', annotations='b', ann_file='c')),
            r"own_data\.val has unknown keys \['ann_file'\]",
        ),
        (
            dict(test=dict(img='a')),
            r"own_data\.test lacks \['images'\]; it needs \['images'\] and may have \['anno",
        ),
        (dict(val='0.2'), r"own_data\.val must be dict\(images=\.\.\., annotations=.*got '0\.2'"),
        (dict(val=0.25), r'own_data\.val=0\.25: two images are needed'),
        (
            dict(train=dict(images='.', annotations='a.json', names=[' '])),
            r'own_data\.train\.names is empty; leave it out to take all images',
        ),
        (dict(palette=[[0, 0, 0]]), r'own_data\.palette has 1 colours for 2 classes'),
        (
            dict(train=dict(images='a', annotations=None)),
            r"own_data\.train lacks \['annotations'\]; it needs \['annotations', 'images'\] "
            r"and may have \['names'\]$",
        ),
        (
            dict(train=dict(images='a', annotations='b', instances='c')),
            r"own_data\.train has unknown keys \['instances'\]",
        ),
        (dict(palette=[[0, 0, 0]] * 3), r'own_data\.palette has 3 colours for 2 classes'),
        (dict(palette=3), r'own_data\.palette must be a list of colours \(R, G, B\), got 3'),
        (dict(palette=[[0, 0, 0], 7]), r'own_data\.palette has 7, which is not a colour'),
        (dict(palette=[[0, 0, 0], [0, 0, 256]]), r'own_data\.palette has \[0, 0, 256\], which is'),
        (
            dict(train=dict(images='a', annotations=['b', 'c'])),
            r"own_data\.train\.annotations must be one path below the root, got \['b', 'c'\]",
        ),
        (
            dict(val=dict(images=1, annotations='b')),
            r'own_data\.val\.images must be one path .* 1$',
        ),
        (
            dict(train=dict(images='a', annotations='b', names=5)),
            r'own_data\.train\.names must be a list of names of images, or a file .* got 5',
        ),
        (
            dict(val=dict(images='a', annotations='b', names=[])),
            r'own_data\.val\.names is empty; leave it out',
        ),
        (
            dict(val=dict(images='a', annotations='b', names=['a', 1.5])),
            r"own_data\.val\.names must be a list .* got \['a', 1\.5\]",
        ),
        (dict(classes='cat'), r"own_data\.classes must be a list .* got 'cat'"),
        (dict(classes=[]), r'own_data\.classes must be a list .* got \[\]'),
        (dict(classes={'cat', 'dog'}), r'own_data\.classes must be a list .* got \{'),
        (dict(classes=dict(cat=0, dog=1)), r'own_data\.classes must be a list .* got \{'),
        (dict(classes=[1, 2]), r'own_data\.classes must be a list .* got \[1, 2\]'),
    ],
)
def test_wrong_keys(load, coco_data, change, message):
    coco_data.update(change)
    cfg = load(MASK_RCNN)
    cfg.own_data = {key: value for key, value in coco_data.items() if value is not ...}
    with pytest.raises(RecipeError, match=message):
        apply_own_data(cfg)


def test_none_is_as_if_it_were_not_there(load, coco_data):
    given, cfg = dict(coco_data), load(FASTER_RCNN)
    cfg.own_data = dict(coco_data, test=None, palette=None, val=dict(coco_data['val'], x=None))
    apply_own_data(cfg)
    other = load(FASTER_RCNN)
    other.own_data = given
    apply_own_data(other)
    for key in (*LOADERS, 'val_evaluator', 'test_evaluator'):
        assert cfg[key] == other[key]
    colours = cfg.train_dataloader.dataset.metainfo.palette
    assert colours == [(255, 0, 0), (43, 170, 170)]  # red, and a turquoise that is darker and pale
    own = read(dict(coco_data, classes=['a', 'b', 'c']), Instances())
    assert own.palette == [(255, 0, 0), (43, 170, 43), (128, 128, 255)]
    for nothing in (None, 'x', ['x']):
        cfg.own_data = nothing
        match = r'^own_data must be dict\(root=\.\.\., classes=\[\.\.\.\], \.\.\.\), got '
        with pytest.raises(RecipeError, match=f'{match}{re.escape(repr(nothing))}$'):
            apply_own_data(cfg)


def test_segmentation_keys_are_listed(load, seg_data):
    cfg = load(UPERNET)
    cfg.own_data = dict(seg_data, suffix='.png')
    with pytest.raises(
        RecipeError,
        match=r"unknown keys \['suffix'\].*may have \['bits', 'channels', 'colours', 'ids', "
        r"'ignore_exif', 'ignore_ids', 'image_suffix', 'label_suffix', 'palette', 'palette_file', "
        r"'reduce_zero_label', 'test'\]",
    ):
        apply_own_data(cfg)


def test_another_scope_is_refused():
    with pytest.raises(RecipeError, match="default_scope='mmpose'.*'mmdet' and 'mmseg'"):
        apply_own_data(Config(dict(default_scope='mmpose', own_data=dict(root='x'))))


def _values(node, key) -> list:
    """All values of ``key`` at any depth."""
    if isinstance(node, dict):
        found = [node[key]] if key in node else []
        return found + [v for child in node.values() for v in _values(child, key)]
    if isinstance(node, (list, tuple)):
        return [v for child in node for v in _values(child, key)]
    return []
