# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Slots of the processes that read."""

import os

import pytest
from torch.utils.data import DataLoader, Dataset

from mmconvnext.faults.board import LONGEST, Board


class Reader(Dataset):
    """Each process counts what it reads, and leaves a name."""

    def __init__(self, board):
        self.board = board

    def __len__(self):
        return 8

    def __getitem__(self, index):
        self.board.reading(f'file {index}')
        if index != 5:
            self.board.replaced()
        return os.getpid()


@pytest.mark.parametrize('workers', [0, 2])
def test_counts_and_names(workers):
    board = Board(workers)
    pids = {int(pid) for pid in DataLoader(Reader(board), batch_size=1, num_workers=workers)}
    assert board.total == 7 and len(pids) == max(workers, 1)
    last = ['file 7'] if not workers else ['file 6', 'file 7']
    assert sorted(board.read_by(pids)) == last
    assert board.read_by({1}) == []


def test_long_and_odd_names():
    board = Board(0)
    for name in ('x' * 9999, 'a\udcff\u00e9'):
        board.reading(name)
        (found,) = board.read_by({os.getpid()})
        assert found == name[: LONGEST - 1]
    board.reading('')
    assert board.read_by({os.getpid()}) == []
