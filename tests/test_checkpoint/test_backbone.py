# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the line of result says everything that was loaded, left, dropped and ignored."""

import logging

import pytest
import torch
from torch import nn

from mmconvnext.checkpoint.backbone import check_whole, report, same_tensor
from mmconvnext.checkpoint.errors import CheckpointMismatch
from mmconvnext.checkpoint.formats import Network
from mmconvnext.checkpoint.match import Match
from mmconvnext.checkpoint.tables import FORMATS

OUT = {f'neck.{i}': torch.ones(1) for i in range(2)}
MANY = [f'stages.0.{i:02}.gamma' for i in range(12)]
BEGIN = 'Loaded 2 of 4 tensors from w.pth (meta names)'
LINES = {
    'all': (dict(), dict(), BEGIN),
    'place': (
        dict(at='backbone.'),
        dict(),
        f'backbone. {BEGIN}',
    ),
    'prefix': (
        dict(prefix='teacher.'),
        dict(),
        f"{BEGIN}, prefix 'teacher.'",
    ),
    'one outside': (
        dict(prefix='a.', outside=dict(list(OUT.items())[:1])),
        dict(),
        f"{BEGIN}, prefix 'a.'; ignored outside of 'a.': 1 tensor",
    ),
    'two outside': (
        dict(prefix='a.', outside=OUT),
        dict(),
        f"{BEGIN}, prefix 'a.'; ignored outside of 'a.': 2 tensors",
    ),
    'missing and dropped': (
        dict(),
        dict(missing=['norm0.bias', 'norm0.weight', 'b.weights'], dropped=['head.bias', 'x']),
        f'{BEGIN}; missing (left at initialization): norm0, b.weights; dropped: head, x',
    ),
    'many': (
        dict(),
        dict(dropped=MANY),
        f'{BEGIN}; dropped: {", ".join(MANY[:10])} and 2 more',
    ),
    'ten': (
        dict(),
        dict(dropped=MANY[:10]),
        f'{BEGIN}; dropped: {", ".join(MANY[:10])}',
    ),
    'everything': (
        dict(prefix='a.', outside=OUT, at='b.'),
        dict(missing=['m.bias'], dropped=['d'], notes=['first', 'second'], problem='why'),
        f"b. {BEGIN}, prefix 'a.'; missing (left at "
        "initialization): m; dropped: d; first; second; ignored outside of 'a.': 2 tensors; "
        'NOT STRICT: why',
    ),
}


@pytest.mark.parametrize('name', LINES)
def test_every_part_of_the_line(name, log_records):
    where, what, line = LINES[name]
    at = where.get('at', '')
    network = Network(FORMATS['meta'], where.get('prefix', ''), {}, where.get('outside', {}))
    parts = dict(missing=[], dropped=[], notes=[], problem='', **{}) | what
    match = Match({'a': torch.ones(1), 'b': torch.ones(1)}, **parts)
    backbone = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert report('w.pth (meta names)', backbone, network, match, *([at] if at else [])) == line
    (record,) = log_records
    assert record.getMessage() == line
    assert record.levelno == (logging.WARNING if 'problem' in what else logging.INFO)


@pytest.mark.parametrize(
    ('missing', 'notes', 'text'),
    [
        ([], [], None),
        (['a.num_batches_tracked'], [], None),
        (['norm0.bias'], [], 'missing: norm0.bias'),
        ([], ['stem: 3 -> 5'], 'stem: 3 -> 5'),
        (
            ['x.num_batches_tracked', *'abcdef'],
            ['one', 'two'],
            'missing: a, b, c, d, e and 1 more; one; two',
        ),
    ],
)
def test_a_whole_backbone_lacks_nothing_but_counters(missing, notes, text):
    match = Match({}, missing, [], notes)
    if text is None:
        check_whole(match)
    else:
        with pytest.raises(CheckpointMismatch) as error:
            check_whole(match)
        assert str(error.value) == f'the weights do not match the whole backbone; {text}'


FLOAT, LONG = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.long)


@pytest.mark.parametrize(
    ('own', 'given', 'same'),
    [
        (FLOAT, FLOAT.half(), True),
        (FLOAT, nn.Parameter(FLOAT), True),
        (LONG, LONG.int(), True),
        (FLOAT, LONG, False),
        (LONG, FLOAT, False),
        (FLOAT, FLOAT.T, False),
        (FLOAT, FLOAT.tolist(), False),
        (None, FLOAT, False),
        (FLOAT, None, False),
    ],
)
def test_what_counts_as_the_same_tensor(own, given, same):
    assert same_tensor(own, given) is same
