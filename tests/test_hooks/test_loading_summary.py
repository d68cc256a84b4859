# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""hooks/loading_summary.py: the line about a checkpoint, part by part, and its level."""

import logging

import pytest

from mmconvnext.hooks.loading_summary import Summary, modules

HEAD = 'Loaded 7 of 9 tensors from a/w.pth'
PARTS = dict(
    source='a/w.pth',
    loaded=7,
    total=9,
    faults='',
    resumed=None,
    class_layers={},
    classes=([3], 80),
    missing={},
    unused=[],
    skipped=[],
)
CLASS_LAYERS = {'fc_cls.weight': ((81, 8), (4, 8)), 'fc_cls.bias': ((81,), (4,))}
EXPECTED = 'left at initialization, as expected: fc_cls (81 -> 4), because the model has '
NOT_STRICT = 'NOT STRICT (lenient_loading), left at initialization: '
CASES = [
    ({}, '', 'INFO'),
    (dict(faults='x: NaN'), '; left out: x: NaN', 'WARNING'),
    (dict(resumed=dict(epoch=3, iter=70)), '; resumed at epoch 3, iteration 70', 'INFO'),
    (dict(resumed=dict(iter=70)), '; resumed at epoch None, iteration 70', 'INFO'),
    (dict(class_layers=CLASS_LAYERS), f'; {EXPECTED}3 classes and the file 80', 'INFO'),
    (
        dict(class_layers=CLASS_LAYERS, classes=([3, 5], 0)),
        f'; {EXPECTED}3 and 5 classes and the file another number',
        'INFO',
    ),
    (dict(missing={'neck.weight': None}), f'; {NOT_STRICT}neck', 'WARNING'),
    (
        dict(class_layers=CLASS_LAYERS, missing={**CLASS_LAYERS, 'neck.bias': None}),
        f'; {EXPECTED}3 classes and the file 80; {NOT_STRICT}neck',
        'WARNING',
    ),
    (
        dict(class_layers=CLASS_LAYERS, missing=CLASS_LAYERS),
        f'; {EXPECTED}3 classes and the file 80',
        'INFO',
    ),
    (dict(unused=list('abcdefg')), '; not used: a, b, c, d, e and 2 more', 'WARNING'),
    (
        dict(skipped=list('abcdefg')),
        '; not read, because the file fills these modules: init_cfg of a, b, c, d, e and 2 more',
        'INFO',
    ),
]


@pytest.mark.parametrize(('change', 'rest', 'level'), CASES, ids=lambda value: str(value)[:30])
def test_each_part(change, rest, level):
    summary = Summary(**{**PARTS, **change})
    assert summary.line() == HEAD + rest
    assert summary.level() == getattr(logging, level)


def test_all_parts_in_order():
    change = dict(faults='F', resumed=dict(epoch=0, iter=1), missing={'m': None})
    line = Summary(**{**PARTS, **change, 'unused': ['u'], 'skipped': ['s']}).line()
    parts = [part.partition(':')[0].partition(' at ')[0] for part in line.split('; ')[1:]]
    assert parts == [
        'left out',
        'resumed',
        'NOT STRICT (lenient_loading), left',
        'not used',
        'not read, because the file fills these modules',
    ]


@pytest.mark.parametrize(
    ('tensors', 'text'),
    [
        ({}, ''),
        ({'a.weight': None, 'a.bias': None, 'a.weights': None}, 'a, a.weights'),
        ({'a.gamma': ((2, 3, 5), (2, 4, 6))}, 'a.gamma (3 -> 4, 5 -> 6)'),
        ({'a.bias': None, 'a.weight': ((8,), (9,))}, 'a'),  # the first tensor tells
        ({'a.weight': ((8,), (8, 1))}, 'a ((8,) -> (8, 1))'),
        ({'a.weight': ((8, 1), (9,))}, 'a ((8, 1) -> (9,))'),
        ({f'{i}.weight': None for i in range(12)}, '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'),
        ({f'{i}.weight': None for i in range(10)}, '0, 1, 2, 3, 4, 5, 6, 7, 8, 9'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_modules_with_the_sizes_that_differ(tensors, text):
    assert modules(tensors) == text
