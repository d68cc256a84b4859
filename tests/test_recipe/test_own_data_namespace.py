# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/own_data/namespace.py: with the line every tool sees the same config, in both styles."""

import copy
from pathlib import Path

import mmdet
import mmseg
import processes
import pytest
from fixtures import COCO_CLASSES, MASK_RCNN, SEG_CLASSES, UPERNET, as_lazy, stem
from mmengine.config import Config

import mmconvnext
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.own_data import KEYS, apply_own_data
from mmconvnext.recipe.own_data.namespace import LINE
from mmconvnext.recipe.walk import LOADERS, dicts

DETECTORS = Path(mmdet.__path__[0], '.mim/configs')
SEGMENTORS = Path(mmseg.__path__[0], '.mim/configs')
RETINANET = str(DETECTORS / 'retinanet/retinanet_r50_fpn_1x_coco.py')
OCRNET = str(SEGMENTORS / 'ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512.py')
BASES = [MASK_RCNN, RETINANET, UPERNET, OCRNET]
DETECTION = (MASK_RCNN, RETINANET)


@pytest.fixture
def data(coco_data, seg_data):
    return lambda base: coco_data if base in DETECTION else seg_data


def leaf(folder, base, own_data, changes='', name='mine.py', below=''):
    file = Path(folder, name)
    file.write_text(f'_base_ = {base!r}\nown_data = {own_data!r}\n{changes}\n{LINE}\n{below}')
    return str(file)


def dumped(cfg, folder):
    object.__setattr__(cfg, '_format_python_code', False)  # yapf takes seconds
    cfg.dump(Path(folder, 'dumped.py'))
    return Config.fromfile(Path(folder, 'dumped.py'))


def counts(cfg) -> set:
    return {n['num_classes'] for _, n in dicts(cfg.model) if 'num_classes' in n}


@pytest.mark.parametrize('base', BASES, ids=stem)
def test_a_text_config_is_what_own_data_make_of_it(tmp_path, load, data, base):
    cfg = Config.fromfile(leaf(tmp_path, base, data(base)))
    expected = load(base)
    expected.own_data = data(base)
    apply_own_data(expected)
    assert cfg.to_dict() == expected.to_dict()
    classes = COCO_CLASSES if base in DETECTION else SEG_CLASSES
    assert counts(cfg) == {len(classes)}
    for loader in LOADERS:
        assert cfg[loader].dataset.metainfo.classes == tuple(classes)
    assert '_delete_' not in str(cfg.to_dict())
    assert dumped(cfg, tmp_path).to_dict() == cfg.to_dict()


@pytest.mark.parametrize('base', [MASK_RCNN, RETINANET, UPERNET], ids=stem)
def test_a_lazy_config_is_the_same(tmp_path, load, data, base):
    as_lazy(load(base), tmp_path / 'base.py', 'mmdet' if base in DETECTION else 'mmseg')
    file = tmp_path / 'mine.py'
    file.write_text(
        'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
        f'own_data = {data(base)!r}\n{LINE}\n'
    )
    cfg = Config.fromfile(file)
    text = Config.fromfile(leaf(tmp_path, base, data(base), name='text.py'))
    for key in KEYS:
        assert names_only(cfg.get(key)) == names_only(text.get(key)), key
    assert cfg.train_dataloader.dataset.pipeline[0].type.__name__ == 'LoadImageFromFile'
    again = dumped(cfg, tmp_path)
    assert names_only(again.to_dict()) == names_only(cfg.to_dict())
    assert counts(again) == counts(text)


def test_several_bases(tmp_path, coco_data):
    parts = ('models/retinanet_r50_fpn', 'datasets/coco_detection', 'default_runtime')
    bases = [str(DETECTORS / f'_base_/{part}.py') for part in parts]
    cfg = Config.fromfile(leaf(tmp_path, bases, coco_data))
    assert cfg.model.bbox_head.num_classes == 2
    assert cfg.train_dataloader.dataset.data_root == coco_data['root']


@pytest.mark.parametrize('base', [MASK_RCNN, UPERNET], ids=stem)
def test_a_lazy_config_without_the_line_is_applied_by_our_tools(tmp_path, load, data, base):
    as_lazy(load(base), tmp_path / 'base.py', load(base).default_scope)
    file = tmp_path / 'mine.py'
    head = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
    file.write_text(f'{head}own_data = {data(base)!r}\n')
    late = Config.fromfile(file)
    apply_own_data(late)
    file.write_text(f'{head}own_data = {data(base)!r}\n{LINE}\n')
    early = Config.fromfile(file)
    for key in KEYS:
        assert names_only(late.get(key)) == names_only(early.get(key)), key


def test_a_lazy_config_without_a_default_scope(tmp_path, load, data):
    """As mmdet's and mmseg's own lazy configs are; nothing is imported while it is read."""
    files = {}
    for base, scope in ((MASK_RCNN, 'mmdet'), (UPERNET, 'mmseg')):
        cfg = load(base)
        cfg.default_scope = None
        as_lazy(cfg, tmp_path / f'{scope}_base.py', scope)
        files[scope] = file = tmp_path / f'{scope}_mine.py'
        file.write_text(
            'from mmengine.config import read_base\nwith read_base():\n'
            f'    from .{scope}_base import *\nown_data = {data(base)!r}\n{LINE}\n'
        )
    code = (
        'import sys\nfrom mmengine.config import Config\n'
        f'for file in {[str(file) for file in files.values()]}:\n'
        "    print(Config.fromfile(file)._cfg_dict['own_data']['applied'], 'mmcv' in sys.modules)\n"
    )
    done = processes.run(code)
    said = [line.split() for line in done.stdout.splitlines()]
    assert [imported for _, imported in said] == ['False', 'False'], done.stderr
    for (scope, file), (applied, _) in zip(files.items(), said):
        cfg = Config.fromfile(file)
        assert cfg.train_dataloader.dataset.type.startswith(f'{scope}.')
        apply_own_data(cfg)  # nothing left to do
        assert cfg.own_data.applied == applied


@pytest.mark.parametrize('base', [MASK_RCNN, UPERNET], ids=stem)
def test_changes_above_the_line_count(tmp_path, data, base):
    head = 'roi_head=dict(bbox_head' if base == MASK_RCNN else 'decode_head=dict(loss_decode'
    changes = (
        f'model = dict({head}=dict(new=1)), backbone=dict(_delete_=True, type="X"))\n'
        'train_dataloader = dict(batch_size=7, sampler=dict(_delete_=True, type="S"))\n'
        'test_dataloader = train_dataloader\n'
    )
    with_line = leaf(tmp_path, base, data(base), changes)
    cfg = Config.fromfile(with_line)
    assert cfg.model.backbone == dict(type='X')
    assert cfg.train_dataloader.batch_size == cfg.test_dataloader.batch_size == 7
    # What both names share in the file is not what both loaders get.
    ours = [cfg[loader].dataset.data_prefix for loader in LOADERS]
    assert ours[0] != ours[1] == ours[2]
    without = Path(with_line).read_text().replace(LINE, '')
    Path(with_line).write_text(without)
    expected = Config.fromfile(with_line)
    apply_own_data(expected)
    assert cfg.to_dict() == expected.to_dict()


def test_a_base_of_another_project_keeps_its_scope(tmp_path, coco_data):
    base = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    cfg = Config.fromfile(leaf(tmp_path, base, coco_data))
    assert cfg.model['_scope_'] == cfg.train_dataloader.dataset['_scope_'] == 'mmdet'
    assert cfg.model.bbox_head.num_classes == 2


@pytest.mark.parametrize('base', BASES, ids=stem)
def test_a_leaf_of_a_leaf_and_the_line_twice(tmp_path, data, base):
    own_data = data(base)
    first = leaf(tmp_path, base, own_data, name='first.py')
    once = Config.fromfile(first).to_dict()
    Path(tmp_path, 'again.py').write_text(f'_base_ = "first.py"\n{LINE}\n')
    assert Config.fromfile(tmp_path / 'again.py').to_dict() == once
    change = dict(root='other', classes=['a', 'b', 'c', 'd', 'e'])
    second = leaf(tmp_path, 'first.py', change, name='second.py')
    fresh = leaf(tmp_path, base, {**own_data, **change}, name='fresh.py')
    assert Config.fromfile(second).to_dict() == Config.fromfile(fresh).to_dict()
    back = leaf(tmp_path, 'second.py', own_data, name='back.py')
    assert Config.fromfile(back).to_dict() == once


@pytest.mark.parametrize('base', [MASK_RCNN, UPERNET], ids=stem)
def test_a_leaf_of_a_leaf_may_gain_and_lose_the_labels_of_its_test_set(tmp_path, data, base):
    own_data = data(base)
    labelled = leaf(tmp_path, base, own_data, name='first.py')
    leaf(tmp_path, 'first.py', dict(test=dict(images='test')), name='second.py')
    cfg = Config.fromfile(tmp_path / 'second.py')
    assert 'LoadAnnotations' not in str([cfg.test_dataloader, cfg.get('tta_pipeline')])
    third = leaf(tmp_path, 'second.py', dict(test=None), name='third.py')
    again, expected = Config.fromfile(third), Config.fromfile(labelled)
    for key in set(KEYS) - {'own_data', 'tta_pipeline'}:
        assert again.get(key) == expected.get(key), key


def test_options_of_other_tools_work_on_it(tmp_path, coco_data):
    cfg = Config.fromfile(leaf(tmp_path, MASK_RCNN, coco_data))
    cfg.merge_from_dict({'train_dataloader.dataset.data_root': 'x', 'model.rpn_head.new': 1})
    assert cfg.train_dataloader.dataset.data_root == 'x'
    assert cfg.model.roi_head.bbox_head.num_classes == 2


@pytest.mark.parametrize('key', ['model', 'train_dataloader', 'own_data'])
@pytest.mark.parametrize('lazy', [False, True], ids=['text', 'lazy'])
def test_an_assignment_below_the_line_is_refused(tmp_path, load, coco_data, lazy, key):
    file = tmp_path / 'mine.py'
    below = f'{key} = dict(x=1)\n'
    if lazy:
        as_lazy(load(MASK_RCNN), tmp_path / 'base.py', 'mmdet')
        file.write_text(
            'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
            f'own_data = {coco_data!r}\n{LINE}\n{below}'
        )
    else:
        leaf(tmp_path, MASK_RCNN, coco_data, below=below)
    message = rf'mine\.py sets {key} below use_own_data, which would undo its changes; make this'
    with pytest.raises(RecipeError, match=message) as error:
        Config.fromfile(file)
    assert LINE in str(error.value)


def test_what_harms_nothing_may_stand_below_the_line(tmp_path, coco_data):
    below = 'work_dir = "x"\nmodel["note"] = 1\ntrain_dataloader.batch_size = 5\n'
    cfg = Config.fromfile(leaf(tmp_path, MASK_RCNN, coco_data, below=below))
    assert (cfg.work_dir, cfg.model.note, cfg.train_dataloader.batch_size) == ('x', 1, 5)
    assert cfg.model.roi_head.bbox_head.num_classes == 2


@pytest.mark.parametrize('braces', [True, False], ids=['braces', 'object'])
def test_variables_of_the_base(tmp_path, coco_data, braces):
    """At any depth, in own_data and in what it changes; mmengine fills the braces in later."""
    var = '{{_base_.%s}}' if braces else '_base_.%s'
    Path(tmp_path, 'more.py').write_text(
        "names = ['x', 'y', 'z']\nplace = dict(root='there', val='val.json')\n"
        "loader = dict(batch_size=5, dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))\n"
    )
    split = f'dict(images="a", annotations={var % "place.val"})'
    changes = (
        f'own_data = dict(root={var % "place.root"}, classes={var % "names"}, train={split}, '
        f'val={split})\ntrain_dataloader = {var % "loader"}\nwork_dir = {var % "place.root"}\n'
    )
    cfg = Config.fromfile(leaf(tmp_path, [MASK_RCNN, 'more.py'], None, changes))
    assert cfg.work_dir == 'there' and cfg.val_evaluator.ann_file == 'there/val.json'
    assert cfg.model.roi_head.bbox_head.num_classes == 3
    assert cfg.train_dataloader.batch_size == 5
    dataset = cfg.train_dataloader.dataset
    assert dataset.ann_file == 'val.json' and dataset.metainfo.classes == ('x', 'y', 'z')
    assert dataset.pipeline == [dict(type='LoadImageFromFile')]
    assert cfg.own_data.classes == ['x', 'y', 'z']
    assert dumped(cfg, tmp_path).to_dict() == cfg.to_dict()
    apply_own_data(cfg)  # nothing left to do
    assert cfg.model.roi_head.bbox_head.num_classes == 3


def test_a_text_that_only_looks_like_a_placeholder(tmp_path, coco_data):
    changes = 'own_data["root"] = "_data_root.x_abcdef"\nown_data["classes"] = ["_y_abcdef"]\n'
    cfg = Config.fromfile(leaf(tmp_path, MASK_RCNN, coco_data, changes))
    assert cfg.train_dataloader.dataset.data_root == '_data_root.x_abcdef'
    assert cfg.train_dataloader.dataset.metainfo.classes == ('_y_abcdef',)


def test_a_config_object(load, coco_data):
    cfg, expected = load(MASK_RCNN), load(MASK_RCNN)
    cfg.own_data = expected.own_data = coco_data
    mmconvnext.use_own_data(cfg)
    apply_own_data(expected)
    assert cfg.to_dict() == expected.to_dict()
    cfg.model.roi_head.bbox_head.num_classes = 7
    edited = copy.deepcopy(cfg)
    apply_own_data(cfg)  # it was applied before: later changes stay
    assert cfg.to_dict() == edited.to_dict()
    mmconvnext.use_own_data(cfg)
    assert cfg.to_dict() == expected.to_dict()


def test_the_line_without_own_data(tmp_path):
    file = tmp_path / 'mine.py'
    file.write_text(f'_base_ = {MASK_RCNN!r}\n{LINE}\n')
    with pytest.raises(RecipeError, match=r'own_data must be dict\(root=\.\.\., .*got None'):
        Config.fromfile(file)


def names_only(node):
    """Types by their names alone: a class, its path and a scope before it are the same."""
    if isinstance(node, dict):
        return {
            key: names_only(str(getattr(value, '__name__', value)).rpartition('.')[2])
            if key == 'type'
            else names_only(value)
            for key, value in node.items()
        }
    return [names_only(v) for v in node] if isinstance(node, (list, tuple)) else node
