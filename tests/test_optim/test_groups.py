# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: equal settings form one group, in an order that is the same in every run."""

import random

import torch
from torch import nn

from mmconvnext.optim.groups import Group, format_table, merge


def rows(*settings: tuple[int, dict], size: int = 2) -> list:
    return [(nn.Parameter(torch.zeros(size)), depth, values) for depth, values in settings]


def test_equal_settings_are_merged_in_the_order_of_the_parameters():
    given = rows(
        (0, dict(lr=0.1, weight_decay=0.0)),
        (1, dict(lr=0.2, weight_decay=0.0)),
        (2, dict(weight_decay=0.0, lr=0.1)),
        (2, dict(lr=0.1, weight_decay=0.5)),
    )
    groups = merge(given, 0.2)
    params = [param for param, _, _ in given]
    assert [[id(p) for p in group.params] for group in groups] == [
        [id(params[1])],
        [id(params[0]), id(params[2])],
        [id(params[3])],
    ]
    assert [group.depths for group in groups] == [{1}, {0, 2}, {2}]


def test_any_other_setting_keeps_groups_apart():
    given = rows(
        (0, dict(lr=0.1, weight_decay=0.0)),
        (0, dict(lr=0.1, weight_decay=0.0, betas=(0.9, 0.99))),
        (0, dict(lr=0.1, weight_decay=0.0, betas=(0.9, 0.999))),
        (0, dict(lr=0.0, weight_decay=0.1)),  # the same values, exchanged
    )
    assert len(merge(given, 0.2)) == 4


def test_groups_come_from_the_highest_rate_down_however_the_rows_come():
    settings = [(i, dict(lr=0.1 * 0.7**i, weight_decay=wd)) for i in range(6) for wd in (0.0, 0.05)]
    expected = [values for _, values in settings]
    for seed in range(5):
        shuffled = settings[:]
        random.Random(seed).shuffle(shuffled)
        assert [group.settings for group in merge(rows(*shuffled), 0.1)] == expected


def test_param_group_is_what_torch_takes():
    (row,) = rows((0, dict(lr=0.1, weight_decay=0.5)))
    group = merge([row], 0.1)[0].as_param_group()
    assert set(group) == {'params', 'lr', 'weight_decay'}
    optimizer = torch.optim.AdamW([group], lr=9.0)
    assert optimizer.param_groups[0]['lr'] == 0.1
    assert optimizer.param_groups[0]['params'][0] is row[0]


def test_table_states_every_group_in_one_line():
    groups = [
        Group(dict(lr=1e-4, weight_decay=0.05), [nn.Parameter(torch.zeros(3, 500))], {7}),
        Group(dict(lr=2.5e-5, weight_decay=0.0), [nn.Parameter(torch.zeros(2))] * 3, {2, 0, 1}),
    ]
    lines = [line.split() for line in format_table(groups).splitlines()]
    assert lines == [
        ['depth', 'lr', 'weight', 'decay', 'tensors', 'parameters'],
        ['7', '1.000e-04', '0.05', '1', '1,500'],
        ['0', 'to', '2', '2.500e-05', '0', '3', '6'],
    ]
    assert len({len(line) for line in format_table(groups).splitlines()}) == 1


def test_shards_are_counted_as_a_whole():
    shard = nn.Parameter(torch.zeros(0))
    group = Group(dict(lr=1e-4, weight_decay=0.05), [shard, nn.Parameter(torch.zeros(4))], {7})
    table = format_table([group], {id(shard): torch.Size([3, 500])})
    assert table.splitlines()[1].split()[-2:] == ['2', '1,504']


def test_the_base_rate_comes_first_even_below_others():
    given = rows((0, dict(lr=0.4, weight_decay=0.0)), (0, dict(lr=0.2, weight_decay=0.0)))
    assert [group.settings['lr'] for group in merge(given, 0.2)] == [0.2, 0.4]
