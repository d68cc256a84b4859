# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/same_classes.py: a label of the checkpoint means what the config says, or the user is told.

Both tools go through it in test_test_classes.py.
"""

from types import SimpleNamespace

import pytest

from mmconvnext.cli.same_classes import SameClasses, compare
from mmconvnext.recipe.checks.finding import Finding
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.parametrize(
    'trained, given',
    [
        (['cat', 'dog'], ['cat', 'dog']),
        (['bed ', 'Traffic Light'], ['bed', 'traffic light']),
        ([], ['cat', 'dog']),
        (['person'] * 80, ['cat', 'dog']),
    ],
    ids=['same', 'spelling', 'unknown', 'of another head'],
)
def test_nothing_to_say(trained, given):
    assert list(compare(trained, given)) == []


@pytest.mark.parametrize('given', [['dog', 'cat', 'emu'], ['cat', 'emu', 'dog'], ['a', 'cat', 'b']])
def test_a_class_with_another_label_is_refused(given):
    (finding,) = compare(['cat', 'dog', 'emu'], given)
    assert finding.check == 'trained_classes'
    assert finding.text.endswith("; write classes=['cat', 'dog', 'emu']")


def test_another_name_is_a_warning():
    text = "The checkpoint was trained with class 1 as 'dog', the config calls it 'hound'."
    assert list(compare(['cat', 'dog'], ['cat', 'hound'])) == [Finding(text)]


@pytest.mark.parametrize(
    'meta',
    [
        dict(dataset_meta=dict(classes=('dog', 'cat'))),
        dict(dataset_meta=dict(CLASSES=['dog', 'cat'])),
        dict(CLASSES=('dog', 'cat')),
    ],
    ids=['mmengine', 'upper case', 'mmdet 2'],
)
def test_where_checkpoints_hold_their_classes(load, coco_data, meta):
    from fixtures import MASK_RCNN

    from mmconvnext.recipe.own_data import apply_own_data

    cfg = load(MASK_RCNN)
    cfg.own_data = coco_data
    apply_own_data(cfg)
    runner, hook = SimpleNamespace(cfg=cfg), SameClasses('test_dataloader')
    with pytest.raises(RecipeError, match=r"class 0 as 'dog', the config calls it 'cat'"):
        hook.after_load_checkpoint(runner, dict(meta=meta))
    for other in ({}, dict(meta=None), dict(meta=dict(dataset_meta=None)), dict(state_dict={})):
        hook.after_load_checkpoint(runner, other)
