# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/finding.py: refusals stop a run, unless their setting lets them pass."""

import pytest
from mmengine.config import Config

from mmconvnext.recipe.checks.finding import CHECKS, Finding, settle
from mmconvnext.recipe.errors import RecipeError

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
    with pytest.raises(RecipeError, match='must hold True or False for some of channels, files, '):
        settle(Config(dict(checks=checks)), [])


def test_every_name_says_what_it_refuses():
    assert all(name.isidentifier() and text for name, text in CHECKS.items())
