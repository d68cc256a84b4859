# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""faults/told.py: what the processes saw, in order of its beginning."""

from types import SimpleNamespace

from torch import nn

from mmconvnext.faults.repeat import Found
from mmconvnext.faults.told import RANKS, Report, not_again, told_files, told_reports


def report(rank, losses='', images=('1: a.png',), **found):
    return Report(rank, list(images), losses, Found(**found))


def test_the_rank_where_it_begins_comes_first():
    spread = report(0, 'loss is nan', layer='bn', place=9)
    source = report(2, 'loss is nan', layer='stem', place=1)
    text, rank = told_reports([spread, report(1), source])
    assert rank == 2 and text.index('rank 2 of 3') < text.index('rank 0 of 3')
    assert 'rank 1' not in text
    image = report(1, layer='x', place=20)
    image.found.images = 'number 1'
    assert told_reports([spread, image, source])[1] == 1
    image.found.images, source.found.weights = '', 'w'
    assert told_reports([spread, image, source])[1] == 2


def test_nothing_found_and_many_ranks():
    text, rank = told_reports([report(0), report(1)])
    assert (text, rank) == ('  rank 0 of 2, images: 1: a.png', 0)
    text, _ = told_reports([report(i, 'loss is inf') for i in range(RANKS + 4)])
    assert text.endswith('\n  and 4 more ranks')


def test_one_process_and_many_images():
    (one, *_) = report(0, 'l', [f'{i}: x' for i in range(11)]).text(1).splitlines()
    assert one.startswith('  images: 0: x') and one.endswith('7: x and 3 more')
    assert report(0, images=()).text(1) == '  images: unknown'
    same = Report(0, ['a'], 'loss is nan', Found(losses='loss is nan'))
    assert same.text(1) == '  images: a\n  loss: loss is nan'


def test_files_of_batches():
    samples = [SimpleNamespace(img_path='a.png', img_id=0), SimpleNamespace(img_path='b.png')]
    assert told_files(dict(data_samples=samples)) == ['1: a.png (id 0)', '2: b.png']
    for batch in (None, [], dict(inputs=1), dict(data_samples=None)):
        assert told_files(batch) == []


def test_no_repetition():
    assert 'the memory of this machine' in not_again(nn.Linear(1, 1))
