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


def small(scope='mmdet', **changes) -> Config:
    """A config that is quick to change; its validation set is unlike its test set."""
    load, pack = dict(type='LoadAnnotations'), dict(type='Pack')
    datasets = [dict(type='A', pipeline=[dict(type='Load'), *more, pack]) for more in ([load], [])]
    cfg = dict(default_scope=scope, model=dict(type='A'), train_dataloader=dict(dataset={}))
    cfg.update(val_dataloader=dict(dataset=datasets[0]), test_dataloader=dict(dataset=datasets[1]))
    cfg['train_dataloader']['dataset'] = dict(type='A', pipeline=[load])
    return Config({**cfg, **changes})


def apply(cfg, own_data) -> Config:
    cfg.own_data = own_data
    apply_own_data(cfg)
    return cfg


def test_a_dataset_of_another_type_keeps_what_every_type_takes(coco_data):
    kept = dict(filter_cfg=dict(min_size=3), indices=5, serialize_data=False, test_mode=True)
    kept.update(lazy_init=True, max_refetch=9, pipeline=[dict(type='A')], _scope_='mmdet')
    kept.update(backend_args=dict(backend='petrel'), caption_prompt={}, ignore_index=7)
    kept.update(return_classes=True)
    lost = dict(ann_file='theirs.txt', label_map_file='x', data_root='theirs', metainfo={})
    places = dict(
        type='mmdet.CocoDataset',
        data_root=coco_data['root'],
        ann_file='train.json',
        data_prefix=dict(img='train/'),
        metainfo=dict(classes=('cat', 'dog'), palette=[(1, 2, 3), (4, 5, 6)]),
    )
    coco_data['palette'] = [[1, 2, 3], (4, 5, 6)]
    for kind, more in (('LVISV1Dataset', {}), ('CocoDataset', dict(label_map_file='x'))):
        dataset = dict(kept, type=kind, **lost)
        cfg = apply(small(train_dataloader=dict(dataset=dataset)), coco_data)
        assert cfg.train_dataloader.dataset == {**kept, **places, **more}
        assert all(
            type(colour) is tuple for colour in cfg.train_dataloader.dataset.metainfo.palette
        )


@pytest.mark.parametrize(
    'kind', ['DefaultSampler', 'mmengine.InfiniteSampler', 'ClassAwareSampler', None]
)
@pytest.mark.parametrize('inside', [False, True])
def test_a_sampler_for_any_dataset_stays(coco_data, kind, inside):
    one = dict(type='ConcatDataset', datasets=[dict(type='CocoDataset')] * 2)
    loader = dict(dataset=dict(type='RepeatDataset', dataset=one) if inside else one)
    loader['sampler'] = kind and dict(type=kind)
    cfg = apply(small(train_dataloader=loader), coco_data)
    assert cfg.train_dataloader.sampler == loader['sampler']
    loader['sampler'] = dict(type='MultiSourceSampler')
    with pytest.raises(RecipeError, match=r'train_dataloader\.sampler is MultiSourceSampler'):
        apply(small(train_dataloader=loader), coco_data)
    for dataset in (dict(type='CocoDataset'), dict(type='A', dataset=dict(type='CocoDataset'))):
        loader['dataset'] = dataset
        assert apply(small(train_dataloader=loader), coco_data)


def test_the_first_part_that_differs_is_named(coco_data):
    parts = [dict(type='A', pipeline=[i > 1], test_mode=i > 1, indices=7 - i) for i in (1, 1, 2)]
    parts[1]['ann_file'] = parts[1].pop('indices') and 'x'
    loader = dict(dataset=dict(type='R', dataset=dict(type='C', datasets=parts)))
    match = r'dataset\.dataset joins 3 datasets.* but 0 and 1 differ in \[\'indices\'\];'
    with pytest.raises(RecipeError, match=match):
        apply(small(train_dataloader=loader), coco_data)
    parts[1] = parts[0]
    match = r"but 0 and 2 differ in \['indices', 'pipeline', 'test_mode'\]; write the one"
    with pytest.raises(RecipeError, match=match):
        apply(small(train_dataloader=loader), coco_data)


COCO = dict(type='mmdet.CocoMetric', metric='bbox')
VAL, TEST = (dict(COCO, ann_file=f'/r/{name}.json') for name in ('val', 'test'))
DUMP = dict(type='DumpDetResults', out_file_path='x')


@pytest.mark.parametrize(
    ('val', 'test', 'expected'),
    [
        (dict(COCO, ann_file='a'), dict(COCO, ann_file='b'), (VAL, TEST)),
        (dict(COCO, ann_file='a'), [dict(COCO, ann_file='b'), DUMP], (VAL, [TEST, DUMP])),
        (dict(COCO, ann_file='a'), (DUMP,), (VAL, [DUMP])),
        (dict(COCO, ann_file='a'), None, (VAL, None)),
        (None, [], (None, [])),
        (dict(COCO, ann_file='a'), [], (VAL, TEST)),  # an earlier test set had no labels
        ([DUMP, dict(COCO, ann_file='a')], [], ([DUMP, VAL], [DUMP, TEST])),
        (dict(type='M', metrics=[dict(COCO, ann_file='a'), DUMP]), DUMP, ([VAL, DUMP], DUMP)),
        (dict(type='M', metrics=DUMP), DUMP, ([DUMP], DUMP)),
        ([dict(COCO, ann_file=name) for name in 'ab'], DUMP, ([VAL], DUMP)),
        (
            dict(COCO, ann_file='a', format_only=True, output_dir='x'),
            dict(COCO, ann_file='a', format_only=False, output_dir='x'),
            (VAL, dict(TEST, output_dir='x')),
        ),
    ],
)
def test_each_evaluator_has_the_file_of_its_loader(coco_data, val, test, expected):
    coco_data.update(root='/r', test=dict(images='test', annotations='test.json'))
    cfg = apply(small(val_evaluator=val, test_evaluator=test), coco_data)
    assert (cfg.val_evaluator, cfg.test_evaluator) == expected


@pytest.mark.parametrize(
    ('loading', 'labelled', 'test'),
    [
        ((True, False), True, 'val'),  # of a base for a test set without labels
        ((True, True), True, 'test'),
        ((False, False), True, 'test'),
        ((False, True), True, 'test'),
        ((True, True), False, 'bare'),
    ],
)
@pytest.mark.parametrize('inside', [False, True])
def test_a_test_pipeline_loads_labels_if_there_are_some(coco_data, loading, labelled, test, inside):
    def loader(name, loads):
        steps = [dict(type=f'mmdet.{name}'), dict(type='mmdet.LoadAnnotations'), dict(type='Pack')]
        dataset = dict(type='CocoDataset', pipeline=steps if loads else steps[::2])
        return dict(dataset=dict(type='Repeat', dataset=dataset) if inside else dataset)

    cfg = small(val_dataloader=loader('V', loading[0]), test_dataloader=loader('T', loading[1]))
    before = [next(datasets(cfg, (name,)), None) for name in LOADERS[1:]]
    assert before == [None, None]
    if not labelled:
        coco_data['test'] = dict(images='bare')
    apply(cfg, coco_data)
    kinds = [
        [step['type'] for step in next(datasets(cfg, (name,)))[1].pipeline] for name in LOADERS[1:]
    ]
    full = [['mmdet.V'], ['mmdet.T']]
    for steps, loads in zip(full, loading):
        steps += ['mmdet.LoadAnnotations'] * loads + ['Pack']
    assert kinds[0] == full[0]
    assert kinds[1] == dict(val=full[0], test=full[1], bare=['mmdet.T', 'Pack'])[test]


def test_choices_of_test_time_augmentation_without_labels(coco_data):
    load, flip = dict(type='LoadAnnotations'), dict(type='Flip')
    augment = dict(type='TestTimeAug', transforms=[[load], [flip, flip], (load, flip)])
    coco_data['test'] = dict(images='bare')
    cfg = apply(small(tta_pipeline=[load, augment], test_dataloader=None), coco_data)
    assert cfg.tta_pipeline == [dict(augment, transforms=[[flip, flip], [flip]])]
    assert cfg.train_dataloader.dataset.pipeline == [load]


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


def test_a_list_of_one_dataset_is_that_one(load, coco_data):
    cfg = load(MASK_RCNN)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner])
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg.train_dataloader.dataset.pipeline == inner.pipeline
    assert cfg.train_dataloader.dataset.data_root == coco_data['root']


@pytest.mark.parametrize('absent', LOADERS)
def test_a_loader_that_a_config_lacks_is_passed_over(load, coco_data, absent):
    cfg = load(MASK_RCNN)
    evaluators = {name: name.replace('dataloader', 'evaluator') for name in LOADERS[1:]}
    cfg[absent] = cfg[evaluators.get(absent, 'unused')] = None
    cfg.own_data = coco_data
    apply_own_data(cfg)
    assert cfg[absent] is None
    for loader in set(LOADERS) - {absent}:
        assert cfg[loader].dataset.data_root == coco_data['root'], loader
    for loader in set(evaluators) - {absent}:
        assert cfg[evaluators[loader]].ann_file.startswith(coco_data['root']), loader
