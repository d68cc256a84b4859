# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/spelling.py: names that look alike are recognised and shown differently."""

import pytest

from mmconvnext.recipe.checks.spelling import folded, short, shown


@pytest.mark.parametrize(
    'other',
    ['Traffic Light', ' traffic \t light', 'traffic_light', 'TRAFFIC-LIGHT', 'trafficlight']
    + ['traffic\u200blight', 'traffic\ufefflight', '\uff54raffic light'],
)
def test_alike(other):
    assert folded(other) == folded('traffic light')


@pytest.mark.parametrize('other', ['traffic lights', 'traffic', '', 'tr\xe4ffic light'])
def test_unlike(other):
    assert folded(other) != folded('traffic light')


def test_case_goes_further_than_lower_case():
    assert folded('GROSSE') == folded('gro\xdfe')


def test_numbers_and_their_digits():
    assert folded(1) == folded('1')
    assert shown(1, '1') == ('1', "'1'")


def test_what_the_eye_cannot_tell_is_shown_in_codes():
    assert shown('cat', 'Cat') == ("'cat'", "'Cat'")
    assert shown('\xfc', 'u\u0308') == (r"'\xfc'", r"'u\u0308'")
    assert shown('\xfc', '\xdc') == ("'\xfc'", "'\xdc'")


def test_long_lists_are_cut():
    assert short(list('abcde')) == "['a', 'b', 'c', 'd', 'e']"
    assert short(list('abcdef')) == "['a', 'b', 'c', 'd', 'e', ...]"
    assert short(('a', 'b', 'c'), 2) == "['a', 'b', ...]"
    assert short([]) == '[]'
