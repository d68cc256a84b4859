# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/ledger.py: counts, the first places, and the way through JSON."""

import json

from mmconvnext.data.ledger import Ledger


def test_counts_and_the_first_places():
    ledger = Ledger()
    for i in range(7):
        ledger.mend('odd ids', i)
    ledger.leave_out('lost things', 'a' * 500)
    ledger.note('strange things', 3)
    assert str(ledger.mended['odd ids']) == '0, 1, 2, 3, 4, ...'
    assert ledger.mended['odd ids'].count == 7
    assert str(ledger.left_out['lost things']) == 'a' * 200
    assert str(ledger.noted['strange things']) == '3'


def test_five_places_are_all():
    ledger = Ledger()
    for i in range(5):
        ledger.mend('odd ids', i)
    assert str(ledger.mended['odd ids']) == '0, 1, 2, 3, 4'


def test_causes_in_one_line():
    ledger = Ledger()
    assert ledger.causes() == ''
    for where in (7, 8):
        ledger.leave_out('objects outside', where)
    ledger.leave_out('images without objects', 'a.jpg')
    assert ledger.causes() == '2 objects outside (7, 8); 1 images without objects (a.jpg)'
    assert ledger.causes(but='images without objects') == '2 objects outside (7, 8)'


def test_the_same_after_json():
    ledger = Ledger()
    ledger.mend('odd ids', 1)
    ledger.leave_out('lost things', None)
    ledger.note('strange things', 'x')
    ledger.refuse('boxes', 'they are corners')
    assert Ledger.from_dict(json.loads(json.dumps(ledger.as_dict()))) == ledger
