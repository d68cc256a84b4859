# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the docs contain the tables that the code uses, and every row has an effect."""

import inspect
from pathlib import Path

import pytest

from mmconvnext.models import ConvNeXt, spellings
from mmconvnext.models.spellings import TABLE
from mmconvnext.optim import spellings as optim_spellings

MANUAL = (Path(__file__).resolve().parents[3] / 'docs/spellings.md').read_text(encoding='ascii')


@pytest.mark.parametrize('module', [spellings, optim_spellings])
def test_the_manual_has_the_table(module):
    table = module.as_markdown()
    assert table.count('\n') == 2 + len(module.TABLE)
    assert table.splitlines()[0] in ('| argument | package | here |', '| name | package | here |')
    assert table in MANUAL, f'docs/spellings.md needs this table:\n{table}'


def test_no_row_is_an_argument_of_ours():
    assert not set(TABLE) & set(inspect.signature(ConvNeXt).parameters)


@pytest.mark.parametrize('name', TABLE)
def test_no_argument_is_taken_whatever_it_says(name):
    """A value that makes no sense raises an error, from the row or from our own argument."""
    with pytest.raises((ValueError, TypeError)):
        ConvNeXt(arch=dict(depths=[1], channels=[8]), **{name: object()})
