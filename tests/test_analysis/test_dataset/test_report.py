# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""analysis/dataset/report.py: the whole page, its JSON, and images of other splits."""

import json
import shutil

import coco_files
import pytest
from dataset_files import detection, segmentation

from mmconvnext.analysis.dataset import report
from mmconvnext.analysis.dataset.report import browse

pytestmark = pytest.mark.filterwarnings('ignore:.reduce_zero_label:UserWarning')


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'page'
    path.mkdir()
    return path


def test_a_page_about_objects(tmp_path, folder):
    content = coco_files.content(3)
    content['annotations'][1]['bbox'][0] -= 20  # not where its mask is
    cfg = detection(tmp_path / 'data', content)
    shutil.copy(tmp_path / 'data/train/2.png', tmp_path / 'data/val/1.png')
    lines = []
    found = browse(cfg, folder, title='my data', num=2, augmented=2, tell=lines.append)
    assert found.page == folder / 'index.html' and 'my data' in found.page.read_text()
    assert found.about == 'train: 3 images, 7 objects, 2 classes'
    assert lines[0] == 'reading the annotations of train'
    figures = json.loads((folder / 'figures.json').read_text())
    assert figures['objects_of_class'] == dict(cat=3, dog=4)
    across, wrong = figures['suspicious']
    assert across['what'] == 'images of train that are in val too' and across['of'] == 3
    assert across['entries'][0]['file'].endswith('train/2.png')
    assert across['entries'][0]['note'] == '= 1.png of val'
    (entry,) = wrong['entries']
    assert (entry['class'], entry['box']) == ('dog', [25, 9, 66.5, 31])
    assert len(figures['same_content']) == 1 and {*figures['contact_sheets']} == {'cat', 'dog'}
    names = {file.name for file in (folder / 'pictures').iterdir()}
    assert {'sample_001.png', 'sample_002.png', 'class_1_dog.png', 'object_sizes.png'} <= names
    assert 'sample_003.png' not in names


def test_a_page_about_label_maps(tmp_path, folder):
    found = browse(segmentation(tmp_path / 'data'), folder, title='fields', num=1)
    assert found.about == 'train: 3 images, 3 classes'
    assert found.figures['maps_of_class'] == dict(soil=3, crop=3, weed=0)
    names = {file.name for file in (folder / 'pictures').iterdir()}
    assert {'pixels_of_classes.png', 'class_0_soil.png', 'sample_001.png'} <= names


def test_no_samples(tmp_path, folder):
    found = browse(detection(tmp_path / 'data'), folder, title='', num=0, augmented=0)
    assert not list((folder / 'pictures').glob('sample*'))
    assert found.figures['object_side_of_input']['median'] > 0  # it is measured nevertheless


def test_validation(tmp_path, folder):
    found = browse(detection(tmp_path / 'data'), folder, title='', split='val', num=1)
    assert found.about == 'val: 1 image, 3 objects, 2 classes'
    assert found.figures['scale_of_pipeline']['median'] == 2
    assert found.suspicions[0].what == 'images of val that are in train too'


def test_the_same_seed_gives_the_same_figures(tmp_path):
    cfg = detection(tmp_path / 'data')
    texts = []
    for name in 'ab':
        (tmp_path / name).mkdir()
        browse(cfg, tmp_path / name, title='', seed=3, num=1)
        texts.append((tmp_path / name / 'figures.json').read_bytes())
    assert texts[0] == texts[1]


def others(cfg, split) -> list[str]:
    return [*report._other_files(cfg, report.list_split(report.Split(cfg, f'{split}_dataloader')))]


def test_the_other_splits(tmp_path):
    cfg = detection(tmp_path)
    cfg.test_dataloader = cfg.val_dataloader
    assert others(cfg, 'train') == ['val'] and others(cfg, 'val') == ['train']
    assert others(cfg, 'test') == []
    cfg.test_dataloader = cfg.train_dataloader
    assert others(cfg, 'train') == ['val', 'test'] and others(cfg, 'val') == ['train', 'test']


def test_validation_on_the_training_images_is_told(tmp_path, folder):
    cfg = detection(tmp_path / 'data')
    cfg.val_dataloader = cfg.train_dataloader
    (found,) = browse(cfg, folder, title='', num=0).suspicions
    assert found.what == 'images of train that are in val too' and found.count == 3


def test_images_that_are_left_out_are_told(tmp_path, folder):
    content = coco_files.content(3)
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 2]
    content['annotations'][0]['iscrowd'] = 1
    found = browse(detection(tmp_path / 'data', content), folder, title='', num=1)
    assert found.about == (
        'train: 3 images (1 of them are left out by filter_cfg), 4 objects, '
        '1 region to ignore, 2 classes'
    )
