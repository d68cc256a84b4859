# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The states of all random generators, and streams for each sample."""

import random

import numpy as np
import pytest
import torch

from mmconvnext.checkpoint.safe_globals import torch_load
from mmconvnext.resume.randomness import kept, restore, seed, take


def drawn() -> list[float]:
    """From each generator; those of normal numbers keep one in reserve."""
    return [
        *(random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()),
        float(torch.rand(())),
    ]


@pytest.mark.parametrize('before', [0, 1, 5])
def test_the_state_of_a_checkpoint_goes_on_as_if_nothing_happened(before, tmp_path):
    for _ in range(before):
        drawn()
    torch.save(take(), tmp_path / 'x.pth')
    expected = [drawn() for _ in range(3)]
    restore(torch_load(tmp_path / 'x.pth'))
    assert [drawn() for _ in range(3)] == expected


def test_what_is_drawn_inside_counts_for_nothing():
    state = take()
    expected = drawn()
    restore(state)
    with pytest.raises(OSError, match='lost'), kept():
        drawn()
        raise OSError('lost')
    assert drawn() == expected


def test_each_list_of_numbers_seeds_its_own_streams():
    found = {}
    for numbers in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**32 - 1, 35, 4_000_000)):
        seed(*numbers)
        found[numbers] = drawn()
        seed(*numbers)
        assert drawn() == found[numbers]
    values = [value for row in found.values() for value in row]
    assert len(set(values)) == len(values)
