# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/overflows.py: overflows of the scaler in a row, and a scale below 1."""

from mmconvnext.faults.overflows import LOOP, Overflows


def test_some_are_normal():
    assert Overflows().judge(LOOP - 1, 1.0) == ('', '')


def test_a_scale_below_one_is_told_once():
    overflows = Overflows()
    warning, stop = overflows.judge(3, 0.5)
    assert 'the scale of the loss is 0.5, below 1' in warning and "dtype='bfloat16'" in warning
    assert stop == '' and overflows.judge(4, 0.25) == ('', '')


def test_a_loop_stops():
    warning, stop = Overflows().judge(LOOP, 2.0)
    assert warning == '' and stop.startswith(f'the gradients have overflowed in {LOOP} steps')
    assert 'the scale of the loss is 2. ' in stop
