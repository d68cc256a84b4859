# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""diff.py: the difference, merged into the base by mmengine, gives the target."""

import copy

import pytest
from mmengine.config import Config

from mmconvnext.migrate.diff import difference, differing, same

BASE = dict(a=1, model=dict(type='A', x=[1, 2], inner=dict(type='B', k=1, l=2)), loader=dict(n=2))
TARGETS = [
    {},
    dict(a=2),
    dict(model=dict(type='A', x=[1, 3], inner=dict(type='B', k=1, l=2))),
    dict(model=dict(type='A', x=[1, 2], inner=dict(type='B', k=1))),
    dict(model=dict(type='A', x=[1, 2], inner=dict(type='C', k=1, l=2))),
    dict(model=dict(type='A', x=[1, 2], inner=None)),
    dict(a=dict(b=1)),
    dict(new=dict(type='D')),
]


@pytest.mark.parametrize('change', TARGETS)
def test_the_difference_merges_to_the_target(change):
    target = {**copy.deepcopy(BASE), **change}
    found = difference(BASE, target)
    merged = Config._merge_a_into_b(copy.deepcopy(found), copy.deepcopy(BASE))
    assert dict(merged) == target
    assert set(found) == set(change)  # nothing else is said


def test_another_type_is_replaced_as_a_whole():
    target = {**BASE, 'model': dict(type='A', x=[1, 2], inner=dict(type='C', k=1, l=2))}
    inner = difference(BASE, target)['model']['inner']
    assert inner == dict(_delete_=True, type='C', k=1, l=2)


def test_marks_of_mmengine_and_unset_backends_say_nothing():
    assert same(dict(type='A', _scope_='mmdet'), dict(type='A', backend_args=None))
    assert not same(dict(type='A', backend_args=dict(backend='s3')), dict(type='A'))
    assert not same(True, 1) and same(1, 1.0) and same((1, 2), [1, 2])
    assert not same([1, 2], [1]) and not same([1], [1, 2]) and not same([2, 1], [1, 2])
    assert not same('1', 1) and not same(None, 0) and same(None, None) and not same(1.0, False)
    assert not same(dict(a=1), dict(b=1)) and not same(dict(a=None), {})
    assert not same(dict(a=1), [('a', 1)])


def test_differences_are_named_by_path():
    two = copy.deepcopy(BASE)
    two['model']['inner']['k'] = 5
    del two['a']
    two['new'] = dict(b=1)
    two['loader'] = [2]
    assert differing(BASE, two) == ['a', 'model.inner.k', 'loader', 'new']
    assert differing(BASE, BASE) == []
