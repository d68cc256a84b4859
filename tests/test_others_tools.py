# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A config with own data in mmdet's and mmseg's own tools, functions and inferencers."""

import json
import pickle
from pathlib import Path

import mmdet
import mmseg
import numpy as np
import processes
import pytest
import torch
from fixtures import CONFIGS, UPERNET, forget_runs
from mmengine.config import Config
from PIL import Image

from mmconvnext.cli.test import main as our_test
from mmconvnext.toy import ADE_CLASSES, ADE_PALETTE, CLASSES

LINE = "__import__('mmconvnext').use_own_data(locals())"
ARCH = 'depths=[1, 1, 1, 1], channels=[8, 16, 32, 64]'
TINY = f'arch=dict(_delete_=True, {ARCH})'  # there is another arch to delete
SHORT = """
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
param_scheduler = []
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=1))
load = dict(num_workers=0, persistent_workers=False)
"""
DETECTION = """
steps = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
         'scale_factor', 'flip', 'flip_direction')),
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=steps), **load)
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=steps), **load)
"""
SEGMENTATION = """
default_hooks['logger'] = dict(log_metric_by_epoch=False)
default_hooks['visualization'] = dict(interval=1)  # mmseg draws one image of 50
steps = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PackSegInputs'),
]
sampler = dict(_delete_=True, type='DefaultSampler', shuffle=True)
train_dataloader = dict(batch_size=2, sampler=sampler, dataset=dict(pipeline=steps), **load)
steps = [steps[0], steps[2], steps[1], steps[3]]
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=steps), **load)
model['test_cfg'] = dict(_delete_=True, mode='whole')
model['data_preprocessor'] = dict(size=(64, 64))
"""
MODELS = {
    'mask_rcnn': f"""
_base_ = {str(CONFIGS / '_base_/mask-rcnn_convnext-atto_cpu.py')!r}
model = dict(
    backbone=dict({TINY}),
    neck=dict(in_channels=[8, 16, 32, 64]),
    test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img=5)),
)
""",
    'retinanet': f"""
_base_ = {str(Path(mmdet.__path__[0], '.mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py'))!r}
model = dict(
    backbone=dict(_delete_=True, type='mmconvnext.ConvNeXt', out_indices=(1, 2, 3),
                  arch=dict({ARCH})),
    neck=dict(in_channels=[16, 32, 64], start_level=0, out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32),
    test_cfg=dict(score_thr=0.0, max_per_img=5),
)
""",
    'upernet': f"""
_base_ = {UPERNET!r}
norm = dict(type='BN')
model = dict(
    backbone=dict({TINY}, init_cfg=None),
    decode_head=dict(in_channels=[8, 16, 32, 64], channels=16, norm_cfg=norm),
    auxiliary_head=dict(in_channels=32, channels=16, norm_cfg=norm),
)
""",
    'fcn': f"""
_base_ = {str(Path(mmseg.__path__[0], '.mim/configs/fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py'))!r}
norm = dict(type='BN')
model = dict(
    pretrained=None,
    backbone=dict(_delete_=True, type='mmconvnext.ConvNeXt', arch=dict({ARCH})),
    decode_head=dict(in_channels=64, channels=16, norm_cfg=norm),
    auxiliary_head=dict(in_channels=32, channels=16, norm_cfg=norm),
)
""",
}
DETECTORS = ('mask_rcnn', 'retinanet')


def own_data(name, root) -> dict:
    if name in DETECTORS:
        file = 'annotations/instances_{}2017.json'
        splits = {
            split: dict(images=f'{split}2017', annotations=file.format(split))
            for split in ('train', 'val')
        }
        return dict(root=str(root / 'coco'), classes=list(CLASSES), **splits)
    splits = {
        split: dict(images=f'images/{folder}', annotations=f'annotations/{folder}')
        for split, folder in (('train', 'training'), ('val', 'validation'))
    }
    return dict(
        root=str(root / 'ade'),
        classes=list(ADE_CLASSES),
        palette=[list(colour) for colour in ADE_PALETTE],
        reduce_zero_label=True,
        image_suffix='.jpg',
        **splits,
    )


def run(name, tool, folder, *arguments) -> str:
    """Run an installed tool of mmdet or mmseg; return its output."""
    package = mmdet if name in DETECTORS else mmseg
    script = Path(package.__path__[0], '.mim/tools', tool)
    done = processes.script(script, *arguments, folder=folder, CUDA_VISIBLE_DEVICES='')
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def trained(toy_root, tmp_path_factory):
    """A function: folder with mine.py and epoch_1.pth, made by mmdet's or mmseg's train.py."""
    made = {}

    def make(name):
        if name not in made:
            folder = made[name] = tmp_path_factory.mktemp(name)
            text = MODELS[name] + SHORT + (DETECTION if name in DETECTORS else SEGMENTATION)
            if name == 'retinanet':
                text = text.replace(', with_mask=True', '')
            data = f'own_data = {own_data(name, toy_root)!r}\n'
            Path(folder, 'mine.py').write_text(f'{text}{data}{LINE}\n')
            bare = 'val2017' if name in DETECTORS else 'images/validation'
            Path(folder, 'bare.py').write_text(
                f"_base_ = 'mine.py'\nown_data = dict(test=dict(images={bare!r}))\n{LINE}\n"
            )
            run(name, 'train.py', folder, 'mine.py', '--work-dir', '.')
        return made[name]

    return make


def classes_of(name) -> list:
    return list(CLASSES if name in DETECTORS else ADE_CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize('name', MODELS)
def test_their_training_knows_the_classes(trained, name):
    folder = trained(name)
    meta = torch.load(folder / 'epoch_1.pth', weights_only=False)['meta']['dataset_meta']
    assert list(meta['classes']) == classes_of(name)
    rows = [json.loads(r) for r in next(folder.glob('*/vis_data/scalars.json')).open()]
    metric = 'coco/bbox_mAP' if name in DETECTORS else 'mIoU'
    assert any(metric in row for row in rows) and any('loss' in row for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mask_rcnn', 'upernet'])
def test_their_test_gives_our_metrics(trained, name, tmp_path, monkeypatch):
    folder = trained(name)
    run(name, 'test.py', folder, 'mine.py', 'epoch_1.pth', '--work-dir', tmp_path / 'theirs')
    (file,) = (tmp_path / 'theirs').glob('*/*.json')
    theirs = json.loads(file.read_text())
    monkeypatch.chdir(folder)
    forget_runs()
    ours = our_test(['mine.py', 'epoch_1.pth', '--work-dir', str(tmp_path / 'ours')])
    forget_runs()
    assert ours.items() <= theirs.items()
    assert any('mAP' in key or 'mIoU' in key for key in ours)


@pytest.mark.slow
@pytest.mark.parametrize('tools', ['theirs', 'ours'])
@pytest.mark.parametrize('name', ['mask_rcnn', 'upernet'])
def test_images_without_annotations_are_predicted(trained, name, tools, tmp_path, monkeypatch):
    folder = trained(name)
    out = tmp_path / ('out.pkl' if name in DETECTORS else 'out')
    work = ('--work-dir', str(tmp_path / 'work'), '--show-dir', str(tmp_path / 'shown'))
    arguments = ['bare.py', 'epoch_1.pth', *work, '--out', str(out)]
    if tools == 'theirs':
        run(name, 'test.py', folder, *arguments)
    else:
        monkeypatch.chdir(folder)
        forget_runs()
        assert our_test(arguments) == {}
        forget_runs()
    shown = [path for path in tmp_path.rglob('*.png') if out not in path.parents]
    shown += tmp_path.rglob('*.jpg')
    assert len({path.name for path in shown}) == 3
    if name in DETECTORS:
        predictions = pickle.loads(out.read_bytes())
        assert len(predictions) == 3
        for prediction in predictions:
            assert set(prediction['pred_instances']['labels'].tolist()) <= set(range(len(CLASSES)))
    else:
        maps = sorted(out.glob('*.png'))
        assert len(maps) == 3
        for path in maps:
            ids = set(np.unique(np.asarray(Image.open(path))).tolist())
            assert ids <= set(range(1, 1 + len(ADE_CLASSES)))


@pytest.mark.slow
def test_label_maps_of_a_run_have_a_folder_of_their_own(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained('upernet'))
    forget_runs()
    arguments = ['bare.py', 'epoch_1.pth', '--work-dir', str(tmp_path), '--tta']
    assert our_test(arguments) == {}
    forget_runs()
    assert len(list((tmp_path / 'label_maps').glob('*.png'))) == 3


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTORS)
def test_a_detector_for_one_image(trained, name, toy_root):
    from mmdet.apis import DetInferencer, inference_detector, init_detector

    config, checkpoint = (str(trained(name) / file) for file in ('mine.py', 'epoch_1.pth'))
    image = str(next((toy_root / 'coco/val2017').iterdir()))
    palette = Config.fromfile(config).test_dataloader.dataset.metainfo.palette
    model = init_detector(config, checkpoint, device='cpu')
    assert list(model.dataset_meta['classes']) == classes_of(name)
    assert [tuple(c) for c in model.dataset_meta['palette']] == palette
    assert len(set(palette)) == len(CLASSES)
    labels = inference_detector(model, image).pred_instances.labels.tolist()
    assert labels and set(labels) <= set(range(len(CLASSES)))
    inferencer = DetInferencer(config, checkpoint, device='cpu', show_progress=False)
    (prediction,) = inferencer(image, return_vis=True)['predictions']
    assert prediction['labels'] and set(prediction['labels']) <= set(range(len(CLASSES)))
    assert list(inferencer.visualizer.dataset_meta['classes']) == classes_of(name)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['upernet', 'fcn'])
def test_a_segmentor_for_one_image(trained, name, toy_root):
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    config, checkpoint = (str(trained(name) / file) for file in ('mine.py', 'epoch_1.pth'))
    image = str(next((toy_root / 'ade/images/validation').iterdir()))
    model = init_model(config, checkpoint, device='cpu')
    assert list(model.dataset_meta['classes']) == classes_of(name)
    assert [tuple(c) for c in model.dataset_meta['palette']] == [tuple(c) for c in ADE_PALETTE]
    label_map = inference_model(model, image).pred_sem_seg.data
    assert set(label_map.unique().tolist()) <= set(range(len(ADE_CLASSES)))
    inferencer = MMSegInferencer(config, checkpoint, device='cpu')
    result = inferencer(image, return_vis=True)
    assert set(np.unique(result['predictions']).tolist()) <= set(range(len(ADE_CLASSES)))
    assert list(inferencer.visualizer.dataset_meta['classes']) == classes_of(name)
