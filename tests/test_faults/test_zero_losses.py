# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/zero_losses.py: a loss that is exactly 0 for long is told once, with its cause."""

import pytest

from mmconvnext.faults.zero_losses import MANY, ZeroLosses


def told(name, *values):
    losses = ZeroLosses()
    return [line for value in values for line in losses.count({name: value, 'loss': 1.0})]


def test_once_after_many_in_a_row():
    assert told('loss_mask', *[0.0] * (MANY - 1), 1e-30, *[0.0] * (MANY - 1)) == []
    (line,) = told('loss_mask', *[0.0] * (3 * MANY))
    assert line.startswith(f'loss_mask was exactly 0 in the last {MANY} iterations')
    assert 'or its loss_weight is 0' in line and 'tools/browse_dataset.py' in line
    assert told('loss_mask', *[float('nan')] * MANY) == []


@pytest.mark.parametrize(
    ('name', 'cause'),
    [
        ('loss_cls', 'poly2mask=False'),
        ('s0.loss_bbox', 'all proposals are background'),
        ('loss_rpn_cls', 'flagged to be ignored'),
        ('decode.loss_ce', 'reduce_zero_label'),
        ('aux.loss_ce', '255: ignore_index'),
        ('loss_other', 'its targets are empty'),
    ],
)
def test_causes(name, cause):
    (line,) = told(name, *[0.0] * MANY)
    assert cause in line
