# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mm2/data.py: datasets, dataloaders and evaluators of the old generation."""

from mmconvnext.migrate.mm2.data import DataReader
from mmconvnext.migrate.mm2.pipeline import PipelineReader
from mmconvnext.migrate.notes import Notes

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]


def reader(cfg, task):
    notes = Notes()
    cfg = {'runner': dict(type='EpochBasedRunner', max_epochs=1), **cfg}
    return DataReader(cfg, task, PipelineReader(task, notes), notes), notes


def coco(split, **more):
    return dict(
        type='CocoDataset',
        ann_file=f'data/coco/annotations/{split}.json',
        img_prefix=f'data/coco/{split}/',
        pipeline=LOAD,
        **more,
    )


def test_a_detectors_data():
    data = dict(samples_per_gpu=3, workers_per_gpu=0, train=coco('train', classes=('a', 'b')))
    data['val'] = coco('val')
    got, notes = reader(dict(data=data, data_root='data/coco/'), 'mmdet')
    loaders = got.loaders()
    train, val = loaders['train_dataloader'], loaders['val_dataloader']
    assert (train['batch_size'], train['num_workers'], train['persistent_workers']) == (3, 0, False)
    assert train['sampler'] == dict(type='DefaultSampler', shuffle=True)
    assert train['batch_sampler'] == dict(type='AspectRatioBatchSampler')
    dataset = train['dataset']
    assert dataset['data_root'] == 'data/coco/'
    assert dataset['ann_file'] == 'annotations/train.json'
    assert dataset['data_prefix'] == dict(img='train/')
    assert dataset['metainfo'] == dict(classes=('a', 'b'))
    assert dataset['filter_cfg'] == dict(filter_empty_gt=True, min_size=32)
    assert val['batch_size'] == 1 and val['dataset']['test_mode'] is True
    assert loaders['train_pipeline'] == dataset['pipeline'] and 'test_dataloader' not in loaders
    assert not notes.lost


def test_paths_outside_of_the_root_stay_whole():
    dataset = {**coco('train'), 'img_prefix': 'elsewhere/train/'}
    got, _ = reader(dict(data=dict(train=dataset), data_root='data/coco/'), 'mmdet')
    new = got.loaders()['train_dataloader']['dataset']
    assert 'data_root' not in new and new['ann_file'] == 'data/coco/annotations/train.json'


def test_wrapped_and_joined_datasets():
    repeated = dict(type='RepeatDataset', times=3, dataset=coco('train'))
    got, _ = reader(dict(data=dict(train=repeated)), 'mmdet')
    new = got.loaders()['train_dataloader']['dataset']
    assert (new['type'], new['times']) == ('RepeatDataset', 3)
    assert new['dataset']['data_prefix'] == dict(img='data/coco/train/')
    got, _ = reader(dict(data=dict(train=[coco('a'), coco('b')])), 'mmdet')
    new = got.loaders()['train_dataloader']['dataset']
    assert new['type'] == 'ConcatDataset' and len(new['datasets']) == 2


def test_a_segmentors_data():
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True)]
    ade = dict(type='ADE20KDataset', data_root='data/ade', img_dir='i', ann_dir='a', pipeline=steps)
    cfg = dict(data=dict(train=ade, val=ade), runner=dict(type='IterBasedRunner', max_iters=9))
    got, notes = reader({**cfg, 'evaluation': dict(metric='mIoU', pre_eval=True)}, 'mmseg')
    loaders = got.loaders()
    assert loaders['train_dataloader']['sampler']['type'] == 'InfiniteSampler'
    val = loaders['val_dataloader']['dataset']
    assert val['data_prefix'] == dict(img_path='i', seg_map_path='a')
    assert dict(type='LoadAnnotations', reduce_zero_label=True) in val['pipeline']
    assert got.evaluators() == dict(val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']))
    assert not notes.lost


def test_a_detectors_evaluation():
    evaluation = dict(metric=['bbox', 'segm'], interval=3, classwise=True)
    got, notes = reader(dict(data=dict(val=coco('val')), evaluation=evaluation), 'mmdet')
    assert got.evaluators()['val_evaluator'] == dict(
        type='CocoMetric',
        ann_file='data/coco/annotations/val.json',
        metric=['bbox', 'segm'],
        format_only=False,
        classwise=True,
    )
    assert not notes.lost


def test_what_has_no_counterpart_is_named():
    dataset = {**coco('train', classes='names.txt', proposal_file='p'), 'type': 'NoSuchDataset'}
    got, notes = reader(
        dict(data=dict(train=dataset), evaluation=dict(jsonfile_prefix='x')), 'mmdet'
    )
    got.loaders()
    got.evaluators()
    names = [line.split(':')[0] for line in notes.lost]
    assert names == [
        "classes='names.txt'",
        'proposal_file of the dataset',
        'dataset NoSuchDataset',
        "evaluation.jsonfile_prefix='x'",
    ]
