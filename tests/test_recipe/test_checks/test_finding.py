# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/finding.py: refusals stop a run, unless their setting lets them pass."""

import re

import pytest
from mmengine.config import Config

from mmconvnext.recipe.checks.finding import CHECKS, Finding, settle
from mmconvnext.recipe.errors import RecipeError

# A config may hold each of them: none goes without a notice.
NAMES = ['channels', 'files', 'annotations', 'images', 'image_files', 'image_bits']
NAMES += ['image_channels', 'normalization', 'image_sizes', 'thin_images', 'categories']
NAMES += ['references', 'evaluated_images', 'boxes', 'crowd', 'masks']
NAMES += ['num_classes', 'class_names', 'missing_class']
NAMES += ['double_category', 'class_order', 'classwise', 'no_objects', 'trained_classes']
NAMES += ['label_maps', 'label_sizes', 'image_suffix', 'segments']
NAMES += ['label_ids', 'black_white', 'one_class', 'reduce_zero_label']
NAMES += ['variables', 'unread_options', 'num_layers', 'group_hooks', 'unused_maps', 'batch_norm']
NAMES += ['samples', 'disk', 'first_steps', 'resumed_config', 'schedule']
FINDINGS = [Finding('Mind this'), Finding('bad ids', 'label_ids'), Finding('no file', 'files')]


def test_a_refusal_names_its_setting():
    match = r'^bad ids\n\(checks\.label_ids=False in the config lets this pass\)$'
    for checks in ({}, dict(checks=None), dict(checks=dict(label_ids=True, files=False))):
        with pytest.raises(RecipeError, match=match):
            settle(Config(checks), FINDINGS)


def test_a_setting_lets_its_own_refusal_pass_and_no_other():
    with pytest.raises(RecipeError, match='^no file'):
        settle(Config(dict(checks=dict(label_ids=False))), FINDINGS)
    assert settle(Config(dict(checks=dict(label_ids=False, files=False))), FINDINGS) == [
        'Mind this',
        'bad ids (passed by checks.label_ids=False)',
        'no file (passed by checks.files=False)',
    ]


def test_nothing_found():
    assert settle(Config({}), []) == []


@pytest.mark.parametrize(
    'checks',
    [dict(labelids=False), dict(label_ids='False'), dict(label_ids=0), 'label_ids', ['label_ids']],
)
def test_settings_that_mean_nothing(checks):
    match = re.escape(f'checks={checks!r} must hold True or False for some of channels, files, ')
    with pytest.raises(RecipeError, match=match):
        settle(Config(dict(checks=checks)), [])


def test_every_name_says_what_it_refuses():
    assert list(CHECKS) == NAMES and all(CHECKS.values())
    for name in NAMES:
        assert settle(Config(dict(checks={name: False})), [Finding('x', name)])
    with pytest.raises(AssertionError, match='no_such_check'):
        settle(Config({}), [Finding('x', 'no_such_check')])
