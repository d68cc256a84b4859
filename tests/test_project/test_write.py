# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""project/write.py: a short config that mmengine reads, with the values that were chosen."""

from pathlib import Path

import coco_files
import numpy as np
import pytest
from fixtures import ROOT, write_image
from mmengine import Config

from mmconvnext.project import choices
from mmconvnext.project.find import survey_of
from mmconvnext.project.write import WIDTH, base_expression, config_text

RANDOM = choices.random()


@pytest.fixture
def objects(tmp_path):
    for split in ('train', 'val'):
        coco_files.pictures(tmp_path / 'data' / split)
        coco_files.write(tmp_path / 'data', coco_files.content(), f'{split}.json')
    return tmp_path / 'data'


@pytest.fixture
def maps(tmp_path):
    for split in ('train', 'val'):
        write_image(tmp_path / 'data' / split / 'images/a.jpg', np.full((64, 96, 3), 90))
        write_image(tmp_path / 'data' / split / 'labels/a.png', np.eye(64, 96))
    return tmp_path / 'data'


def written(data, task, device, size, weights=RANDOM):
    """The text of a config, and the config."""
    survey, found = survey_of(data, task)
    assert found == task
    plan = choices.plan(survey, task, device, size, weights)
    out = data.parent / 'mine.py'
    text = config_text(survey, plan, base_expression(task, device, out))
    out.write_text(text, encoding='utf-8')
    assert 20 <= len(text.splitlines()) <= 70
    assert max(map(len, text.replace(str(ROOT), '').replace(str(data), '').splitlines())) <= WIDTH
    return text, Config.fromfile(out)


@pytest.mark.parametrize('task', ['det', 'instance'])
@pytest.mark.parametrize(('device', 'size'), [('cpu', 'atto'), ('cpu', 'nano'), ('gpu', 'base')])
def test_detectors(objects, task, device, size):
    text, cfg = written(objects, task, device, size)
    assert 'anchors begin at' in text and '(median)' in text
    assert cfg.model.type == dict(det='FasterRCNN', instance='MaskRCNN')[task]
    assert cfg.model.roi_head.bbox_head.num_classes == 2
    assert cfg.model.backbone.get('arch') == size
    assert cfg.model.neck.in_channels == list(choices.ARCHS[size].channels)
    assert cfg.model.test_cfg.rcnn.max_per_img == 100
    assert cfg.model.backbone.get('init_cfg') is None
    side = dict(cpu=256, gpu=512)[device]
    train, test = (cfg[f'{split}_dataloader'].dataset.pipeline for split in ('train', 'val'))
    assert tuple(train[2].scale) == tuple(test[1].scale) == (side, side)
    assert train[1].with_mask is (task == 'instance')
    assert [step.get('with_mask') for step in test if 'with_bbox' in step] == [task == 'instance']
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == cfg.max_epochs
    assert cfg.param_scheduler[0].end <= 500 and cfg.optim_wrapper.paramwise_cfg.decay_rate == 1.0
    assert cfg.default_hooks.checkpoint.interval == cfg.train_cfg.val_interval
    best = dict(det='coco/bbox_mAP', instance='coco/segm_mAP')[task]
    assert cfg.default_hooks.checkpoint.save_best == best
    assert cfg.val_evaluator.metric == dict(det='bbox', instance=['bbox', 'segm'])[task]


@pytest.mark.parametrize(('device', 'size'), [('cpu', 'atto'), ('cpu', 'pico'), ('gpu', 'small')])
def test_segmentors(maps, device, size):
    _, cfg = written(maps, 'semantic', device, size)
    channels = list(choices.ARCHS[size].channels)
    head = cfg.model.decode_head
    assert head.num_classes == 2 and head.in_channels == channels and head.norm_cfg.type == 'GN'
    if device == 'gpu':
        auxiliary = cfg.model.auxiliary_head
        assert auxiliary.in_channels == channels[2] and auxiliary.norm_cfg.type == 'GN'
    side = dict(cpu=256, gpu=512)[device]
    train, test = (cfg[f'{split}_dataloader'].dataset.pipeline for split in ('train', 'val'))
    assert tuple(train[2].scale) == tuple(test[1].scale) == (4 * side, side)
    assert tuple(train[3].crop_size) == (side, side)
    assert cfg.train_dataloader.dataset.reduce_zero_label is False
    assert not train[1].get('reduce_zero_label')
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[1].end == cfg.max_iters
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'


@pytest.mark.parametrize(('task', 'decay'), [('instance', 0.8), ('det', 0.8)])
@pytest.mark.parametrize(('device', 'size'), [('cpu', 'atto'), ('gpu', 'tiny'), ('gpu', 'large')])
def test_pretrained_weights(objects, task, decay, device, size):
    weights = choices.pretrained(size)
    text, cfg = written(objects, task, device, size, weights)
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=weights.value)
    assert cfg.optim_wrapper.paramwise_cfg.decay_rate == decay and 'licence' in text


def test_classes_of_any_name_and_number_are_kept(tmp_path):
    names = [
        'it\'s "that"',
        '\u00c4pfel',
        'back\\slash',
        'a\nb',
        '#',
        *(f'c{i}' for i in range(295)),
    ]
    content = coco_files.content()
    content['categories'] = [dict(id=i, name=name) for i, name in enumerate(names, 1)]
    first = content['annotations'][0]
    content['annotations'] = [dict(first, id=i, category_id=i) for i in range(1, 301)]
    data = tmp_path / 'm\u00fc # %'
    coco_files.pictures(data)
    coco_files.write(data, content)
    _, cfg = written_of(data)
    names[3] = 'a b'  # as data/coco/categories.py mends it
    assert cfg.own_data.classes == names and cfg.own_data.root == str(data)
    assert cfg.model.roi_head.bbox_head.num_classes == 300


def written_of(data):
    survey, task = survey_of(data)
    plan = choices.plan(survey, task, 'cpu', 'atto', RANDOM)
    out = data.parent / 'mine.py'
    text = config_text(survey, plan, base_expression(task, 'cpu', out))
    out.write_text(text, encoding='utf-8')
    return text, Config.fromfile(out)


def test_the_base_is_relative_within_the_checkout_only(tmp_path):
    inside = base_expression('det', 'cpu', ROOT / 'work_dirs' / 'mine.py')
    assert inside == "'../configs/_base_/faster-rcnn_convnext-atto_cpu.py'"
    outside = eval(base_expression('det', 'gpu', tmp_path / 'mine.py'))
    assert Path(outside).is_absolute() and Path(outside).is_file()


def test_an_installed_package_names_its_own_configs(tmp_path, monkeypatch):
    monkeypatch.setattr('mmconvnext.project.write.__file__', str(tmp_path / 'a/b/write.py'))
    found = base_expression('semantic', 'cpu', tmp_path / 'mine.py')
    assert found.startswith("__import__('mmconvnext').__path__[0] + '/.mim/configs/_base_/segf")
