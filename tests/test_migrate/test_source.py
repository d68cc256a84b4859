# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""source.py: configs are read without importing anything, and their bases are found."""

from pathlib import Path

import pytest

from mmconvnext.migrate.notes import Notes
from mmconvnext.migrate.source import Source, bases_of, read, shipped, told
from mmconvnext.recipe.errors import RecipeError


def test_modules_that_are_not_installed_are_no_obstacle(write):
    path = write("custom_imports = dict(imports=['no_such_module'])\nmodel = dict(type='A')\n")
    assert read(path).cfg['model'] == dict(type='A')


@pytest.mark.parametrize(
    ('text', 'old'),
    [
        ("optimizer = dict(type='SGD')\nrunner = dict(max_epochs=1)", True),
        ('lr_config = dict(policy="step")', True),
        ("optimizer = dict(type='SGD')\noptim_wrapper = dict(optimizer=optimizer)", False),
        ('train_cfg = dict(max_epochs=1)', False),
        ('model = dict(type="A")', False),
    ],
)
def test_generations_are_told_apart(text, old, write):
    assert read(write(text)).old is old


OLD = ('data', 'optimizer', 'optimizer_config', 'lr_config', 'runner', 'total_epochs')
NEW = ('optim_wrapper', 'train_dataloader', 'param_scheduler', 'train_cfg', 'default_scope')


def test_one_key_of_a_generation_is_enough_and_the_new_one_wins():
    assert [Source(Path('x'), {key: 1}, []).old for key in (*OLD, 'model')] == [True] * 6 + [False]
    for key in NEW:
        assert not Source(Path('x'), {key: 1, **dict.fromkeys(OLD)}, []).old


def test_of_equal_endings_none_is_taken_and_the_longest_wins(write):
    one = write("model = dict(type='One')", 'own/a/models/x_own.py')
    write("model = dict(type='Two')", 'own/b/models/x_own.py')
    folder = [str(one.parents[2])]
    path = write("_base_ = '../z/models/x_own.py'\n", 'configs/x.py')
    with pytest.raises(RecipeError, match="x_own.py' is missing, and was not found among"):
        read(path, folder)
    path.write_text("_base_ = '../a/models/x_own.py'\n")
    notes = Notes()
    source = read(path, folder, notes)
    assert source.cfg['model'] == dict(type='One') and source.bases == [one]
    assert notes.look == [f"_base_ '../a/models/x_own.py' of x.py is missing; used {one} instead"]


def test_text_around_a_missing_base_stays(write):
    write('a = 1', 'own/_base_/one.py')
    path = write(
        """
        b = 2
        _base_ = [
            '../_base_/one.py',
        ]
        c = dict(d='gr\\u00fc\\u00df')
        """
    )
    assert read(path, [str(path.parent / 'own')]).cfg == dict(a=1, b=2, c=dict(d='gr\u00fc\u00df'))
    assert sorted(p.name for p in path.parent.iterdir()) == ['mine.py', 'own']


def test_a_missing_base_is_taken_from_the_project_that_ships_it(write):
    path = write(
        "_base_ = ['../_base_/models/retinanet_r50_fpn.py', './own.py']\n"
        'model = dict(bbox_head=dict(num_classes=2))\n'
    )
    write('a = 1', 'own.py')
    notes = Notes()
    source = read(path, notes=notes)
    assert source.cfg['model']['type'] == 'RetinaNet' and source.cfg['a'] == 1
    assert source.cfg['model']['bbox_head']['num_classes'] == 2
    assert [told(base) for base in source.bases][0] == 'mmdet::_base_/models/retinanet_r50_fpn.py'
    assert len(notes.look) == 1 and 'mmdet::_base_/models/retinanet_r50_fpn.py' in notes.look[0]


def test_a_base_of_a_base_is_found_too(write):
    write("_base_ = '/elsewhere/_base_/models/fcos_r50_caffe_fpn.py'\n", 'middle.py')
    write("model = dict(type='FCOS', neck=dict(k=1))", 'old/_base_/models/fcos_r50_caffe_fpn.py')
    path = write("_base_ = './middle.py'\nmodel = dict(x={{_base_.model.neck.k}})\n")
    source = read(path, [str(path.parent / 'old')])
    assert source.cfg['model'] == dict(type='FCOS', neck=dict(k=1), x=1)


def test_named_folders_come_before_the_installed_projects(write):
    own = write("model = dict(type='Mine')", 'own/_base_/models/retinanet_r50_fpn.py')
    path = write("_base_ = '../_base_/models/retinanet_r50_fpn.py'\n", 'configs/x.py')
    assert read(path, [str(own.parents[2])]).cfg['model'] == dict(type='Mine')


def test_classes_become_their_names(write):
    path = write(
        'from mmengine.dataset import DefaultSampler\nmodel = dict(type=DefaultSampler, f=len)\n'
    )
    kind = read(path).cfg['model']['type']
    assert kind.startswith('mmengine.dataset.') and kind.endswith('DefaultSampler')


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ("_base_ = '../nowhere/none.py'", '_base_ .*none.py.* is missing, and was not .*--bases'),
        ("_base_ = 'mmdet::none.py'", "mine.py: mmdet ships no config 'none.py'"),
        ("_base_ = 'mmfoo::none.py'", "mine.py: 'mmfoo::none.py' needs mmfoo, which is not"),
        ('x = (', 'mine.py cannot be read as a config: SyntaxError'),
        ('1 / 0', 'cannot be read as a config: ZeroDivisionError'),
    ],
)
def test_what_cannot_be_read_is_one_message(text, match, write):
    with pytest.raises(RecipeError, match=match):
        read(write(text))


@pytest.mark.parametrize('gone', ['gone.py', '.'])
def test_no_such_file(gone):
    with pytest.raises(RecipeError, match=f"'{gone}' is not a config file; .* write 'mmdet::"):
        read(gone)
    with pytest.raises(RecipeError, match="mmdet ships no config 'gone.py'"):
        read('mmdet::gone.py')


def test_no_such_folder(write):
    with pytest.raises(RecipeError, match='--bases gone: there is no such folder'):
        read(write('a = 1'), ['gone'])


def test_a_shipped_config_is_read_by_its_name():
    source = read('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    assert source.path.is_file() and source.cfg['model']['type'] == 'RetinaNet'


def test_bases_may_be_computed(write):
    path = write("_base_ = [__import__('mmseg').__path__[0] + '/x.py', './y.py']\n")
    first, second = bases_of(path)
    assert first.endswith('/mmseg/x.py') and second == './y.py'
    assert {'mmdet', 'mmseg'} <= set(shipped())
