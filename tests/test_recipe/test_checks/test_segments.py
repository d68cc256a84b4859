# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/segments.py: panoptic data that does not fit is refused before training."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fixtures import found
from mmengine.hub import get_config
from PIL import Image

from mmconvnext import toy
from mmconvnext.recipe.checks import segments
from mmconvnext.recipe.checks.categories import check_categories
from mmconvnext.recipe.checks.segments import check_segments
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import apply_own_data
from mmconvnext.recipe.own_data.kinds.panoptic import Panoptic

RECIPE = 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A panoptic recipe on toy data; its arguments change the content of val's file first."""
    small = partial(toy.write_panoptic, num_train=3, num_val=3, size=96)
    monkeypatch.setattr(toy, 'write_panoptic', small)

    def build(change=None, **own_data):
        data = Panoptic().toy(tmp_path)
        file = Path(data['root'], data['val']['annotations'])
        content = json.loads(file.read_text())
        if change:
            change(content)
            file.write_text(json.dumps(content))
        cfg = get_config(RECIPE)
        cfg.own_data = {**data, **own_data}
        apply_own_data(cfg)
        return cfg

    return build


def pngs(cfg) -> list[Path]:
    dataset = cfg.val_dataloader.dataset
    return sorted(Path(dataset.data_root, dataset.data_prefix.seg).iterdir())


def repaint(change):
    def paint(file):
        Image.fromarray(change(np.asarray(Image.open(file)))).save(file)

    return paint


def test_sound_data_passes(own):
    assert found(own(), check_segments) == []


def test_a_missing_package_is_named(own, monkeypatch):
    monkeypatch.setattr(segments, 'find_spec', lambda name: None)
    with pytest.raises(RecipeError, match='panopticapi, which is not installed: pip install git'):
        found(own(), check_segments)


def test_missing_pngs(own):
    cfg = own()
    pngs(cfg)[1].unlink()
    folder = pngs(cfg)[0].parent
    match = rf'val_dataloader.*: 1 of 3 inspected images have no PNG, the first is {folder}/0'
    with pytest.raises(RecipeError, match=match):
        found(cfg, check_segments)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda rgb: rgb[..., ::-1].copy(), r'has the ids \[.*, which match no segment and has no'),
        (lambda rgb: rgb[..., 0].copy(), 'has the ids .* a PNG with three channels'),
        (lambda rgb: rgb * 0, r'000004\.png has no pixel of the segments \['),
    ],
    ids=['other order of channels', 'one channel', 'unlabelled'],
)
def test_colours_that_are_no_segment(own, change, message):
    cfg = own()
    repaint(change)(pngs(cfg)[0])
    with pytest.raises(RecipeError, match=message):
        found(cfg, check_segments)


@pytest.mark.parametrize(('wrong', 'seen'), [(7, True), (8, False)])
def test_eight_pngs_are_decoded(own, monkeypatch, wrong, seen):
    monkeypatch.setattr(toy, 'write_panoptic', partial(toy.write_panoptic, num_val=9))
    cfg = own()
    repaint(lambda rgb: rgb * 0)(pngs(cfg)[wrong])
    if not seen:
        assert found(cfg, check_segments) == []
        return
    with pytest.raises(RecipeError, match=r'has no pixel of the segments \['):
        found(cfg, check_segments)


def test_each_file_is_checked_once(own):
    cfg = own(_set_isthing(None))
    cfg.checks = dict(segments=False)
    assert len(found(cfg, check_segments)) == 1  # the test set is that of validation


@pytest.mark.parametrize(
    'change',
    [
        dict(data_root='s3://bucket'),
        dict(data_prefix=dict(seg=None)),
        dict(data_prefix=dict(seg='gone')),
        dict(ann_file='gone'),
    ],
    ids=str,
)
def test_what_other_checks_report_is_left_to_them(own, change):
    cfg = own(_set_isthing(None))
    cfg.val_dataloader.dataset.update(change)
    test, cfg.test_dataloader = cfg.test_dataloader, None
    assert found(cfg, check_segments) == []
    cfg.checks, cfg.test_dataloader = dict(segments=False), test
    assert len(found(cfg, check_segments)) == 1  # the loaders behind it are looked at
    cfg.train_dataloader.dataset.type = 'CocoDataset'
    assert len(found(cfg, check_segments)) == 1


def test_training_may_lack_things_or_stuff(own):
    cfg = own(_things_alone)
    cfg.train_dataloader.dataset.ann_file = cfg.val_dataloader.dataset.ann_file
    cfg.train_dataloader.dataset.data_prefix = cfg.val_dataloader.dataset.data_prefix
    cfg.checks = dict(segments=False)
    lines = found(cfg, check_segments, ('train_dataloader',))
    assert lines and not any('could not compute' in line for line in lines)


def test_unlabelled_pixels_are_fine(own):
    def corner(rgb):
        rgb = rgb.copy()
        rgb[:2, :2] = 0
        return rgb

    cfg = own()
    repaint(corner)(pngs(cfg)[0])
    assert found(cfg, check_segments) == []


def test_a_broken_png(own):
    cfg = own()
    pngs(cfg)[0].write_bytes(b'no image')
    with pytest.raises(RecipeError, match=r'000004\.png cannot be read'):
        found(cfg, check_segments)


def _set_isthing(value):
    def change(content):
        content['categories'][0]['isthing'] = value

    return change


def _no_isthing(content):
    del content['categories'][-1]['isthing']


def _another_category(content):
    content['categories'].append(dict(id=9, name='cloud', isthing=0))
    content['annotations'][0]['segments_info'][0]['category_id'] = 9


def _things_alone(content):
    for annotation in content['annotations']:
        annotation['segments_info'].pop()


def _stuff_alone(content):
    for annotation in content['annotations']:
        del annotation['segments_info'][:-1]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (_set_isthing(0), "says that 'disc' is stuff; move the name to own_data.stuff_classes"),
        (_no_isthing, """no "isthing" of 0 or 1 for its category 'background'"""),
        (_another_category, r"segments of \['cloud'\], which mmdet cannot load"),
        (_things_alone, r'no segment of stuff, so mmdet could not compute its PQ \(0/0\)'),
        (_stuff_alone, r'no segment of things, so mmdet could not compute its PQ \(0/0\)'),
    ],
)
def test_categories(own, change, message):
    with pytest.raises(RecipeError, match=message):
        found(own(change), check_segments)


def test_a_thing_that_the_file_calls_stuff(own):
    names = list(toy.CLASSES)
    cfg = own(classes=[*names, 'background'], stuff_classes=['sky'], palette=None)
    with pytest.raises(RecipeError, match="'background' is stuff"):
        found(cfg, check_segments)


def test_the_order_of_the_file_counts_for_things_and_stuff(own):
    def stuff_first(content):
        content['categories'].insert(0, content['categories'].pop())

    with pytest.raises(RecipeError, match='in a different order from classes'):
        found(own(stuff_first), check_categories)


def test_the_instance_file_lists_things_alone(own):
    cfg = own()
    file = f'{cfg.own_data.root}/annotations/instances_val2017.json'
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='CocoMetric', ann_file=file)]
    assert [text for text in found(cfg, check_categories) if 'no object of' not in text] == []
