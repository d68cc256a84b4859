# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/kinds/panoptic.py: mmdet's panoptic recipes train on own data and report PQ."""

from functools import partial

import pytest
from fixtures import found, warnings
from mmengine.hub import get_config

from mmconvnext import toy
from mmconvnext.recipe.checks.classes import check_class_names, check_num_classes
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.own_data.kinds import check_data, kind_of
from mmconvnext.recipe.walk import LOADERS, dicts

MASK2FORMER = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
PANOPTIC_FPN = 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'
MASKFORMER = 'mmdet::maskformer/maskformer_r50_ms-16xb1-75e_coco.py'


@pytest.fixture
def own_data(tmp_path, monkeypatch):
    """The panoptic toy data, as ``own_data``."""
    small = partial(toy.write_panoptic, num_train=2, num_val=2, size=96)
    monkeypatch.setattr(toy, 'write_panoptic', small)
    return kind_of(get_config(PANOPTIC_FPN)).toy(tmp_path)


@pytest.mark.parametrize('config', [MASK2FORMER, PANOPTIC_FPN, MASKFORMER])
def test_loaders_evaluators_and_heads(own_data, config):
    cfg = get_config(config)
    cfg.own_data = own_data
    apply_own_data(cfg)
    root = own_data['root']
    for loader, split in zip(LOADERS, ('train2017', 'val2017', 'val2017')):
        dataset = cfg[loader].dataset
        assert dataset.type == 'mmdet.CocoPanopticDataset'
        assert dataset.data_root == root
        assert dataset.ann_file == f'annotations/panoptic_{split}.json'
        assert dataset.data_prefix == dict(img=f'{split}/', seg=f'annotations/panoptic_{split}/')
        assert dataset.metainfo.classes == toy.CLASSES + ('background',)
        assert dataset.metainfo.thing_classes == toy.CLASSES
        assert dataset.metainfo.stuff_classes == ('background',)
        assert dataset.metainfo.palette == list(toy.PANOPTIC_PALETTE)
    for key in ('val_evaluator', 'test_evaluator'):
        metrics = cfg[key] if isinstance(cfg[key], list) else [cfg[key]]
        assert metrics[0].ann_file == f'{root}/annotations/panoptic_val2017.json'
        assert metrics[0].seg_prefix == f'{root}/annotations/panoptic_val2017/'
        assert [metric.ann_file for metric in metrics[1:]] == [
            f'{root}/annotations/instances_val2017.json'
        ] * (config == MASK2FORMER)
    counts = {(n.num_things_classes, n.num_stuff_classes) for n in _counting(cfg)}
    assert counts == {(4, 1)}
    if config == PANOPTIC_FPN:
        assert cfg.model.roi_head.bbox_head.num_classes == 4
        assert cfg.model.roi_head.mask_head.num_classes == 4
    else:
        assert cfg.model.panoptic_head.loss_cls.class_weight == [1.0] * 5 + [0.1]
    for check in (check_num_classes, check_class_names, check_data):
        assert [text for text in found(cfg, check) if 'no object of' not in text] == []


def _counting(cfg):
    return [node for _, node in dicts(cfg.model) if 'num_stuff_classes' in node]


def test_without_an_instance_file_there_is_no_box_ap(own_data, log_records):
    del own_data['val']['instances']
    cfg = get_config(MASK2FORMER)
    cfg.own_data = own_data
    apply_own_data(cfg)
    assert [metric.type for metric in cfg.val_evaluator] == ['CocoPanopticMetric']
    assert 'CocoMetric is left out' in warnings(log_records)[0]
    assert "instances='instances_val.json'" in warnings(log_records)[0]


def test_a_test_set_without_labels_is_predicted_on(own_data):
    cfg = get_config(MASK2FORMER)
    cfg.own_data = dict(own_data, test=dict(images='new'))
    apply_own_data(cfg)
    dataset = cfg.test_dataloader.dataset
    assert dataset.type == 'mmconvnext.ImageFolder'
    assert 'LoadPanopticAnnotations' not in [step.type for step in dataset.pipeline]
    assert cfg.test_evaluator == []
    cfg.own_data = own_data
    apply_own_data(cfg)
    assert 'LoadPanopticAnnotations' in [s.type for s in cfg.test_dataloader.dataset.pipeline]
    assert [metric.type for metric in cfg.test_evaluator] == ['CocoPanopticMetric', 'CocoMetric']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(stuff_classes=None), r"own_data lacks \['stuff_classes'\]; it needs"),
        (dict(val=None), r"own_data lacks \['val'\]; .*'test'\]$"),  # a part is not possible
        (dict(stuff_classes=[]), r'own_data\.stuff_classes must be a list .* got \[\]'),
        (dict(palette=[[0, 0, 0]] * 4), 'own_data.palette has 4 colours for 5 classes'),
        (dict(train=dict(images='a', annotations='b')), r"own_data\.train lacks \['segments'\]"),
        (
            dict(train=dict(images='a', annotations='b', segments='c', instances='d')),
            r"own_data\.train has unknown keys \['instances'\]",
        ),
        (dict(test=dict(images='a', segments='b')), r"own_data\.test lacks \['annotations'\]"),
        (dict(val='x'), r'own_data\.val must be dict\(images=\.\.\., annotations=.*, segments='),
    ],
)
def test_wrong_keys(own_data, change, message):
    cfg = get_config(PANOPTIC_FPN)
    cfg.own_data = {**own_data, **change}
    with pytest.raises(RecipeError, match=message):
        apply_own_data(cfg)
