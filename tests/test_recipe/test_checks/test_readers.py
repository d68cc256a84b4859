# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/readers.py: who reads an annotation file, with which classes, in which order."""

import json

import pytest
from mmengine.config import Config

from mmconvnext.recipe.checks.readers import Reader, annotation_readers

CLASSES = ('cat', 'dog')


@pytest.fixture
def read(tmp_path):
    """A function that gives the readers of a validation dataset and its metrics."""
    entries = [dict(id=i, name=name) for i, name in ((7, 'dog'), (3, 'cat'), (5, 'emu'))]
    (tmp_path / 'a b.json').write_text(json.dumps(dict(categories=entries)))

    def readers(dataset, *metrics):
        given = dict(data_root=str(tmp_path), ann_file='a b.json', metainfo=dict(classes=CLASSES))
        cfg = dict(default_scope='mmdet', val_dataloader=dict(dataset={**given, **dataset}))
        file = str(tmp_path / 'a b.json')
        cfg['val_evaluator'] = [dict(dict(ann_file=file), **metric) for metric in metrics]
        return list(annotation_readers(Config(cfg), ('val_dataloader',)))

    return readers


@pytest.mark.parametrize(
    ('kind', 'order'),
    [
        ('CocoDataset', 'file'),
        ('mmdet.CityscapesDataset', 'file'),  # a subclass
        ('CocoPanopticDataset', 'file'),
        ('Objects365V2Dataset', 'file'),
        ('BaseVideoDataset', 'file'),
        ('Objects365V1Dataset', 'id'),
        ('LVISV05Dataset', 'all'),
        ('LVISV1Dataset', 'all'),
        ('VOCDataset', None),
        ('NoSuchDataset', None),
    ],
)
def test_each_dataset_has_its_order(read, tmp_path, kind, order):
    expected = Reader('val_dataloader.dataset', str(tmp_path / 'a b.json'), CLASSES, order)
    assert read(dict(type=kind)) == ([expected] if order else [])


@pytest.mark.parametrize(
    ('order', 'taken', 'fits'),
    [
        ('file', ['dog', 'cat'], False),
        ('id', ['cat', 'dog'], True),
        ('all', ['dog', 'cat', 'emu'], False),
    ],
)
def test_which_category_is_label_0(read, order, taken, fits):
    (reader,) = read(dict(type='CocoDataset'))
    reader = Reader(reader.path, reader.file, CLASSES, order)
    assert (reader.names, reader.fits) == (taken, fits)
    for classes, named, right in (
        (taken, True, True),
        (taken[::-1], True, False),
        (['x'] * len(taken), False, order == 'all'),  # their number is all that counts
        (['x'] * 9, False, False),
    ):
        assert Reader(reader.path, reader.file, tuple(classes), order, named).fits is right


@pytest.mark.parametrize(
    'change',
    [
        dict(ann_file='gone.json'),
        dict(ann_file=''),
        dict(backend_args=dict(backend='petrel')),
        dict(data_root='s3://bucket'),
        dict(metainfo=dict(classes=())),
    ],
    ids=str,
)
def test_datasets_that_cannot_be_compared(read, change):
    assert read(dict(change, type='CocoDataset')) == []


@pytest.mark.parametrize(
    ('metric', 'order', 'classwise'),
    [
        (dict(type='CocoMetric'), 'file', False),
        (dict(type='mmdet.CocoMetric', classwise=True), 'file', True),
        (dict(type='CocoMetric', sort_categories=True), 'id', False),
        (dict(type='CocoPanopticMetric'), 'file', False),
        (dict(type='LVISMetric'), 'all', False),
        (dict(type='LVISMetric', sort_categories=True), 'all', False),
        (dict(type='CocoMetric', ann_file='gone.json'), None, False),
        (dict(type='CocoMetric', ann_file=None), None, False),
        (dict(type='VOCMetric'), None, False),
    ],
)
@pytest.mark.parametrize('stuff', [(), ('sky',)])
def test_each_metric_has_its_order(read, tmp_path, metric, order, classwise, stuff):
    names = dict(classes=CLASSES + stuff, thing_classes=CLASSES, stuff_classes=stuff)
    found = read(dict(type='CocoPanopticDataset', metainfo=names), dict(type='A'), metric)[1:]
    classes = CLASSES + stuff if 'Panoptic' in metric['type'] else CLASSES  # stuff has no boxes
    file = str(tmp_path / 'a b.json')
    expected = Reader('val_evaluator.1', file, classes, order, True, classwise)
    assert found == ([expected] if order else [])


def test_the_file_that_the_user_knows_is_shown(read, tmp_path):
    readers = read(dict(type='CocoDataset'), dict(type='CocoMetric'))
    file = str(tmp_path / 'a b.json')
    assert [reader.shown for reader in readers] == [file] * 2
    node = dict(
        type='CocoDataset', ann_file=file, data_root='/data', metainfo=dict(classes=CLASSES)
    )
    cfg = dict(
        default_scope='mmdet',
        val_dataloader=dict(dataset=node),
        val_evaluator=[dict(type='CocoMetric', ann_file=file)],
        listed_annotations={
            'val_dataloader.dataset': [file, 'b.json'],
            'val_evaluator.0': [file, '/data/b.json'],
        },
    )
    readers = list(annotation_readers(Config(cfg), ('val_dataloader',)))
    assert [(r.file, r.shown) for r in readers] == [(file, '/data/b.json')] * 2


def test_metrics_get_the_classes_of_the_first_dataset_that_has_some(read):
    parts = [dict(type='NoSuchDataset', metainfo={}, data_root='x', ann_file='')]
    parts += [
        dict(parts[0], type='CocoDataset', metainfo=dict(classes=names))
        for names in (CLASSES, ('emu',))
    ]
    (reader,) = read(dict(type='ConcatDataset', datasets=parts), dict(type='CocoMetric'))[-1:]
    assert (reader.path, reader.classes, reader.named) == ('val_evaluator.0', CLASSES, True)
    whole = read(dict(type='CocoDataset', metainfo={}), dict(type='CocoMetric'))
    assert [(len(reader.classes), reader.named) for reader in whole] == [(80, False)] * 2
