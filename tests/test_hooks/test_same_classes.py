# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/same_classes.py: a label of the checkpoint means what the config says, or the user is told.

Both tools go through it in test_test_classes.py.
"""

from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmconvnext.hooks.same_classes import SameClasses, compare, trained_classes
from mmconvnext.recipe.checks.finding import Finding
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.parametrize(
    'trained, given',
    [
        (['cat', 'dog'], ['cat', 'dog']),
        (['bed ', 'Traffic Light'], ['bed', 'traffic light']),
        ([], ['cat', 'dog']),
        (['person'] * 80, ['cat', 'dog']),
        (['emu'], ['cat', 'dog']),
    ],
    ids=['same', 'spelling', 'unknown', 'of a larger head', 'of a smaller head'],
)
def test_nothing_to_say(trained, given):
    assert list(compare(trained, given)) == []


@pytest.mark.parametrize('given', [['dog', 'cat', 'emu'], ['cat', 'emu', 'dog'], ['a', 'cat', 'b']])
def test_a_class_with_another_label_is_refused(given):
    (finding,) = compare(['cat', 'dog', 'emu'], given)
    assert finding.check == 'trained_classes'
    assert finding.text.endswith("; write classes=['cat', 'dog', 'emu']")


@pytest.mark.parametrize(
    'trained, given',
    [
        (['A', 'a'], ['a', 'A']),
        (['-', '_'], ['_', '-']),
        (['cat', 'stop sign', 'stop-sign'], ['cat', 'stop-sign', 'stop sign']),
        (['Bed', 'bed'], ['bed', 'BED']),
        (['A', 'b'], ['a', 'A']),
    ],
    ids=['case', 'signs', 'spaces', 'one moved', 'only the config has both'],
)
def test_classes_that_differ_in_spelling_alone_are_two(trained, given):
    (finding,) = compare(trained, given)
    assert finding.check == 'trained_classes'
    assert finding.text.endswith(f'; write classes={trained}')


def test_an_unclear_spelling_is_a_warning():
    (finding,) = compare(['A', 'a'], ['a ', 'A '])
    assert finding.check == '' and "class 0 as 'A', the config calls it 'a '" in finding.text


def test_the_class_that_moved_is_the_one_that_is_named():
    (finding,) = compare(['dog', 'cat', 'emu'], ['hound', 'emu', 'cat'])
    assert "class 1 as 'cat', the config calls it 'emu'" in finding.text


def test_a_loader_without_a_dataset_has_no_classes():
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='Own'))))
    checkpoint = dict(meta=dict(dataset_meta=dict(classes=('cat',))))
    for loader in ('train_dataloader', 'test_dataloader'):
        SameClasses(loader).after_load_checkpoint(SimpleNamespace(cfg=cfg), checkpoint)


@pytest.mark.parametrize(
    'trained, given, label',
    [
        (['apple', 'pear'], ['cat', 'dog'], 0),
        (['cat', 'dog'], ['cat', 'hound'], 1),
        (['A', 'a', 'dog'], ['a ', 'A ', 'hound'], 2),
        (['nucleus'], ['cell'], 0),
    ],
    ids=['nothing in common', 'one', 'beside an unclear spelling', 'a single class'],
)
def test_another_name_is_another_class(trained, given, label):
    text = f'class {label} as {trained[label]!r}, the config calls it {given[label]!r}'
    text = f'the checkpoint was trained with {text}; write classes={trained}'
    assert list(compare(trained, given)) == [Finding(text, 'trained_classes')]


@pytest.fixture
def runner(load, coco_data):
    from fixtures import MASK_RCNN

    from mmconvnext.recipe.own_data import apply_own_data

    cfg = load(MASK_RCNN)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    return SimpleNamespace(cfg=cfg)


@pytest.mark.parametrize(
    'meta',
    [
        dict(dataset_meta=dict(classes=('dog', 'cat'))),
        dict(dataset_meta=dict(CLASSES=['dog', 'cat'])),
        dict(CLASSES=('dog', 'cat')),
    ],
    ids=['mmengine', 'upper case', 'mmdet 2'],
)
def test_where_checkpoints_hold_their_classes(runner, meta):
    hook = SameClasses('test_dataloader')
    with pytest.raises(RecipeError, match=r"class 0 as 'dog', the config calls it 'cat'"):
        hook.after_load_checkpoint(runner, dict(meta=meta))
    for other in ({}, dict(meta=None), dict(meta=dict(dataset_meta=None)), dict(state_dict={})):
        hook.after_load_checkpoint(runner, other)


ODD = {
    'a list': dict(dataset_meta=['dog', 'cat']),
    'meta is a list': ['dog', 'cat'],
    'meta is a text': 'dog',
    'a number': dict(dataset_meta=dict(classes=2)),
    'a text': dict(dataset_meta=dict(classes='ab')),
    'a dict': dict(CLASSES={'dog': 0, 'cat': 1}),
    'other keys': dict(dataset_meta={1: 'dog', None: 'cat'}),
}


@pytest.mark.parametrize('meta', ODD.values(), ids=ODD)
def test_what_is_no_list_of_names_is_unknown(runner, meta, log_records):
    SameClasses('test_dataloader').after_load_checkpoint(runner, dict(meta=meta))
    assert trained_classes(dict(meta=meta)) == [] and not log_records


def test_keys_that_are_no_texts_do_not_hide_the_classes():
    assert trained_classes(dict(meta={1: 2, 'CLASSES': ['dog', 3]})) == ['dog', '3']


def test_for_load_from_it_only_warns(runner, log_records):
    hook = SameClasses('train_dataloader', only_warn=True)
    hook.after_load_checkpoint(runner, dict(meta=dict(CLASSES=('dog', 'cat'))))
    (record,) = log_records
    assert record.levelname == 'WARNING'
    assert "class 0 as 'dog', the config calls it 'cat'" in record.getMessage()
    assert 'load_from: training starts' in record.getMessage()
    hook.after_load_checkpoint(runner, dict(meta=dict(CLASSES=('cat', 'dog'))))
    assert len(log_records) == 1
