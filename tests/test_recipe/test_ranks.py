# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/ranks.py: rank and number of processes as launchers set them; only rank 0 logs."""

import logging

import pytest

from mmconvnext.recipe import ranks


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*ranks.RANK, *ranks.WORLD_SIZE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('variable', ranks.RANK)
def test_only_rank_0_logs(capsys, monkeypatch, variable):
    ranks.log_rank0('from the only one')
    monkeypatch.setenv(variable, '0')
    ranks.log_rank0('from the first')
    monkeypatch.setenv(variable, '1')
    assert ranks.rank() == 1
    ranks.log_rank0('from the second')
    ranks.log_rank0('from the second', logging.WARNING)
    out = capsys.readouterr()
    assert out.out.splitlines() == ['from the only one', 'from the first']
    assert 'second' not in out.err


def test_torchruns_rank_counts_before_slurms(monkeypatch):
    monkeypatch.setenv('SLURM_PROCID', '1')
    monkeypatch.setenv('RANK', '9')
    assert ranks.rank() == 9


def test_world_size(monkeypatch):
    assert ranks.world_size() == 1
    monkeypatch.setenv('OMPI_COMM_WORLD_SIZE', '4')
    assert ranks.world_size() == 4
    monkeypatch.setenv('SLURM_NTASKS', '16')
    assert ranks.world_size() == 16
    monkeypatch.setenv('WORLD_SIZE', '8')
    assert ranks.world_size() == 8
