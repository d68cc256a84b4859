# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/values.py: what counts as a number, and which ids are the same."""

import pytest

from mmconvnext.data.values import LARGEST_ID, key, number


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


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (0, 0),
        ('-0', 0),
        ('7.', 7.0),
        ('1E-2', 0.01),
        ('+.5e+1', 5.0),
        ('-12', -12),
        (1e300, 1e300),
        ('1e400', None),
        ('-', None),
        ('.', None),
        ('1e', None),
        ('--1', None),
        ('1 2', None),
        ('\u0663', None),  # a digit of Arabic
        ('9' * 400, None),  # beyond all floats
        (b'7', None),
        (7 + 0j, None),
    ],
)
def test_how_numbers_are_written(value, expected):
    found = number(value)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (-3, -3),
        (0, 0),
        ('0', 0),
        ('-3.00', -3),
        ('7.', 7),
        (7.0, 7),
        (-0.0, 0),
        ('7e0', '7e0'),
        ('\u0663', '\u0663'),
        ('0x7', '0x7'),
        (' x ', 'x'),
        ('9' * 30, int('9' * 30)),
        (2**60, 2**60),
        (float('inf'), None),
        (7.25, None),
        ((1,), None),
    ],
)
def test_what_an_id_refers_to(value, expected):
    found = key(value)
    assert found == expected and type(found) is type(expected)


def test_ids_that_floats_hold():
    """pycocotools keeps ids in arrays of floats; the next one is no float."""
    assert LARGEST_ID - 1 == float(LARGEST_ID - 1) and LARGEST_ID == float(LARGEST_ID)
    assert LARGEST_ID + 1 != float(LARGEST_ID + 1)
