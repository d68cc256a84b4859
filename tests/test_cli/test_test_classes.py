# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/test.py: a label means one class in training, head, checkpoint, AP and picture.

A detector that learns nothing but the label of each name, from the labels of the training data, and
then finds every object of the file, goes through both tools. If labels mean the same everywhere,
the AP of each class is 1 and each drawn name is the file's.
"""

import ast
import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import FASTER_RCNN, forget_runs, write_image
from mmdet.registry import MODELS
from mmdet.visualization import DetLocalVisualizer
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from mmconvnext.cli.test import main as evaluate
from mmconvnext.cli.train import main as train
from mmconvnext.recipe.errors import RecipeError

SIZE = 64
CONFIG = """
_base_ = {base!r}
own_data = {own_data}
checks = {checks}
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
]
loader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=pipeline))
train_dataloader = dict(batch_size=2, **loader)
val_dataloader = loader
test_dataloader = loader
val_evaluator = dict(classwise=True)
test_evaluator = dict(classwise=True)
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = []
optim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
model = dict(
    _delete_=True,
    type='TruthTeller',
    files={files},
    bbox_head=dict(num_classes=80),
    data_preprocessor=dict(type='DetDataPreprocessor'),
)
"""


@MODELS.register_module()
class TruthTeller(BaseModel):
    """Finds all objects; learns in training which label stands for which name."""

    def __init__(self, files, bbox_head, data_preprocessor):
        super().__init__(data_preprocessor)
        self.truth, names = {}, set()
        for file in files:
            for image, box, name in objects(json.loads(Path(file).read_text())):
                self.truth.setdefault(image, {})[box] = name
                names.add(name)
        self.names = sorted(names)
        self.head = torch.nn.Linear(1, bbox_head['num_classes'])
        self.register_buffer('label_of', torch.full((len(names),), -1))

    def forward(self, inputs, data_samples, mode):
        for sample in data_samples:
            truth = self.truth[Path(sample.img_path).name]
            if mode == 'loss':
                for box, label in zip(sample.gt_instances.bboxes, sample.gt_instances.labels):
                    self.label_of[self.names.index(truth[tuple(box.int().tolist())])] = label
                continue
            labels = self.label_of[[self.names.index(name) for name in truth.values()]]
            boxes = torch.tensor(list(truth), dtype=torch.float)[labels >= 0]
            labels = labels[labels >= 0]
            sample.pred_instances = InstanceData(
                bboxes=boxes, labels=labels, scores=torch.ones(len(labels))
            )
        return dict(loss=self.head.weight.sum() * 0) if mode == 'loss' else data_samples


def objects(content):
    """(file name, box, name of the category) of each annotation."""
    images = {image['id']: image['file_name'] for image in content['images']}
    names = {category['id']: category['name'] for category in content['categories']}
    for a in content['annotations']:
        x, y, w, h = a['bbox']
        yield images[a['image_id']], (x, y, x + w, y + h), names[a['category_id']]


def coco(split, categories, annotated):
    """Two images, each with one object of each annotated category."""
    content = dict(
        images=[dict(id=i, file_name=f'{split}{i}.png', width=SIZE, height=SIZE) for i in (1, 2)],
        annotations=[],
        categories=[dict(id=i, name=name) for i, name in categories],
    )
    for image in (1, 2):
        for k, category in enumerate(annotated):
            box = [2 + 10 * k, 3 + 7 * image, 9, 20]
            number = len(content['annotations']) + 1
            content['annotations'].append(
                dict(
                    id=number,
                    image_id=image,
                    category_id=category,
                    bbox=box,
                    area=180,
                    iscrowd=0,
                )
            )
    return content


Outcome = namedtuple('Outcome', 'metrics drawn checkpoint truth')


@pytest.fixture
def through(workplace, monkeypatch):
    """A function that takes classes and files through both tools."""
    drawn, current = {}, []
    add, text = DetLocalVisualizer.add_datasample, DetLocalVisualizer.draw_texts

    def add_datasample(self, name, image, data_sample=None, **kwargs):
        current.append(Path(data_sample.img_path).name)
        return add(self, name, image, data_sample=data_sample, **kwargs)

    def draw_texts(self, texts, positions, **kwargs):
        name, _, score = texts.rpartition(': ')
        if score == '100.0':  # ground truth has none
            drawn.setdefault(current[-1], []).append((*map(int, positions), name))
        return text(self, texts, positions, **kwargs)

    monkeypatch.setattr(DetLocalVisualizer, 'add_datasample', add_datasample)
    monkeypatch.setattr(DetLocalVisualizer, 'draw_texts', draw_texts)

    def run(classes, train_set, val_set=None, annotated=None, checks=None, test_classes=None):
        forget_runs()
        for folder in ('run', 'shown'):
            shutil.rmtree(folder, ignore_errors=True)
        drawn.clear()
        files = {}
        for split, categories in (('train', train_set), ('val', val_set or train_set)):
            ids = [i for i, name in categories if annotated is None or name in annotated]
            files[split] = coco(split, categories, ids)
            Path(f'{split}.json').write_text(json.dumps(files[split]))
            for i in (1, 2):
                write_image(Path(f'{split}/{split}{i}.png'), np.full((SIZE, SIZE, 3), 90))
        write_config('mine.py', classes, checks)
        runner = train(['mine.py', '--work-dir', 'run'])
        checkpoint = torch.load('run/epoch_1.pth', weights_only=False)
        labels = dict(zip(runner.model.names, checkpoint['state_dict']['label_of'].tolist()))
        forget_runs()
        write_config('test.py', test_classes or classes, checks)
        metrics = evaluate(['test.py', 'run/epoch_1.pth', '--show-dir', 'shown'])
        return Outcome(metrics, drawn, (checkpoint['meta']['dataset_meta'], labels), files['val'])

    return run


def write_config(name, classes, checks):
    splits = {s: dict(images=s, annotations=f'{s}.json') for s in ('train', 'val')}
    text = CONFIG.format(
        base=FASTER_RCNN,
        own_data=dict(root='.', classes=classes, **splits),
        checks=checks or {},
        files=['train.json', 'val.json'],
    )
    Path(name).write_text(text)


def is_right(outcome, classes, annotated=None) -> bool:
    """AP 1 of each class under its name, drawn names as in the file, labels as in dataset_meta."""
    meta, labels = outcome.checkpoint
    annotated = annotated or classes
    precision = {name: outcome.metrics[f'coco/{name}_precision'] for name in annotated}
    expected = {}
    for image, box, name in objects(outcome.truth):
        if name in classes:
            # The text stands a line's width inside the box.
            expected.setdefault(image, []).append((box[0] + 3, box[1] + 3, name))
    return (
        list(meta['classes']) == classes
        and all(labels[name] == classes.index(name) for name in annotated)
        and all(value == 1 for value in precision.values())
        and {image: sorted(names) for image, names in outcome.drawn.items()}
        == {image: sorted(names) for image, names in expected.items()}
    )


CLASSES = ['pear', 'apple', 'fig']


@pytest.mark.parametrize(
    'train_set, val_set',
    [
        ([(1, 'pear'), (2, 'apple'), (3, 'fig')], None),
        ([(0, 'pear'), (1, 'apple'), (2, 'fig')], None),
        ([(3, 'pear'), (17, 'apple'), (90, 'fig')], None),
        ([(0, 'fruit'), (1, 'pear'), (2, 'apple'), (3, 'fig')], None),
        (
            [(1, 'pear'), (2, 'leaf'), (3, 'apple'), (4, 'fig')],
            [(2, 'pear'), (5, 'apple'), (7, 'fig')],
        ),
        ([(1, 'apple'), (2, 'pear'), (3, 'fig')], [(2, 'apple'), (3, 'pear'), (1, 'fig')]),
    ],
    ids=['from 1', 'from 0', 'gaps', 'dummy first', 'other ids in val', 'other orders'],
)
def test_what_passes_is_right_to_the_picture(through, train_set, val_set):
    assert is_right(through(CLASSES, train_set, val_set), CLASSES)


def test_unordered_ids(through):
    unordered = [(7, 'pear'), (2, 'apple'), (5, 'fig')]
    with pytest.raises(RecipeError, match='classwise=True would print the AP of one class next'):
        through(CLASSES, unordered)
    # With all APs equal the table happens to be right; labels and pictures are so anyway.
    assert is_right(through(CLASSES, unordered, checks=dict(classwise=False)), CLASSES)


def test_a_class_that_nobody_annotated(through):
    files = [(1, 'pear'), (2, 'apple'), (3, 'fig')]
    outcome = through(CLASSES, files, annotated=['pear', 'fig'])
    assert is_right(outcome, CLASSES, ['pear', 'fig'])
    assert np.isnan(outcome.metrics['coco/apple_precision'])


def test_some_of_the_categories(through):
    files = [(1, 'pear'), (2, 'apple'), (3, 'fig')]
    assert is_right(through(['pear', 'fig'], files), ['pear', 'fig'])


@pytest.mark.parametrize(
    'files',
    [
        [(1, 'pear'), (2, 'Apple'), (3, 'figs')],
        [(4, 'fig'), (6, 'apple')],
        [(0, 'fruits'), (1, 'plum'), (2, 'kiwi')],
    ],
    ids=['spelling', 'fewer', 'other'],
)
def test_the_classes_that_the_message_writes_are_right(through, files):
    annotated = [name for _, name in files if name != 'fruits']
    with pytest.raises(RecipeError) as caught:
        through(CLASSES, files, annotated=annotated)
    classes = ast.literal_eval(re.search(r'write classes=(\[.*?\])', str(caught.value))[1])
    assert classes == annotated
    assert is_right(through(classes, files, annotated=annotated), classes)


# The checkpoint's classes


@pytest.mark.slow
def test_a_checkpoint_of_another_order_is_refused(through, log_records):
    files = [(1, 'pear'), (2, 'apple')]
    assert is_right(through(['pear', 'apple'], files), ['pear', 'apple'])
    for split in ('train', 'val'):
        content = json.loads(Path(f'{split}.json').read_text())
        content['categories'].reverse()
        Path(f'{split}.json').write_text(json.dumps(content))
    write_config('test.py', ['apple', 'pear'], dict(classwise=False))
    forget_runs()
    match = (
        "the checkpoint was trained with class 0 as 'pear', the config calls it 'apple'; write "
        r"classes=\['pear', 'apple'\]\n\(checks\.trained_classes=False"
    )
    with pytest.raises(RecipeError, match=match):
        evaluate(['test.py', 'run/epoch_1.pth'])
    forget_runs()
    with pytest.raises(RecipeError, match=match):
        train(['test.py', '--work-dir', 'run', '--resume'])
    write_config('test.py', ['apple', 'pear'], dict(classwise=False, trained_classes=False))
    forget_runs()
    assert evaluate(['test.py', 'run/epoch_1.pth'])['coco/bbox_mAP'] == 0
