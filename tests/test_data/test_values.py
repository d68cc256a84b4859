# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/values.py: what counts as a number, and which ids are the same."""

import pytest

from mmconvnext.data.values import key, number


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (7, 7),
        (-7.5, -7.5),
        (' 7 ', 7),
        ('+7', 7),
        ('7.50', 7.5),
        ('.5', 0.5),
        ('-1e3', -1000.0),
        ('12345678901234567890', 12345678901234567890),
    ],
)
def test_numbers(value, expected):
    found = number(value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    'value',
    [True, None, [], {}, '', 'x', 'nan', 'inf', '1_000', '0x10', '1,5', '9' * 5000, 10**400]
    + [float('nan'), float('inf')],
)
def test_no_numbers(value):
    assert number(value) is None


@pytest.mark.parametrize('same', [(7, 7.0, '7', ' 7 ', '7.0', '007', '+7'), ('a b', ' a b ')])
def test_the_same_id(same):
    assert {key(value) for value in same} == {same[0]}


@pytest.mark.parametrize(
    'different', [('12e3', 12000), ('1_2', '12', '1_20'), ('7.5', 7), (2**60, 2**60 + 1)]
)
def test_other_ids(different):
    assert len({key(value) for value in different}) == len(different)


@pytest.mark.parametrize('value', [True, False, None, 7.5, float('nan'), '', ' ', [], {}, [1]])
def test_no_ids(value):
    assert key(value) is None
