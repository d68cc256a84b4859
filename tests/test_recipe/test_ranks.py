# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/ranks.py: rank and number of processes as launchers set them; only rank 0 logs."""

import logging

import pytest

from mmconvnext.recipe import ranks

# Of torchrun, slurm and Open MPI; the first that is set counts.
RANK = ['RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK']
WORLD_SIZE = ['WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE']


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*RANK, *WORLD_SIZE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ('read', 'names', 'default'), [(ranks.rank, RANK, 0), (ranks.world_size, WORLD_SIZE, 1)]
)
def test_each_launcher_sets_its_variable(monkeypatch, read, names, default):
    assert read() == default
    for value, name in enumerate(reversed(names), 3):
        monkeypatch.setenv(name, str(value))
        assert read() == value


@pytest.mark.parametrize('variable', RANK)
def test_only_rank_0_logs(capsys, log_records, monkeypatch, variable):
    def log() -> list:
        ranks.log_rank0('printed')
        ranks.log_rank0('a warning', logging.WARNING)
        found = [(record.levelno, record.getMessage()) for record in log_records]
        log_records.clear()
        return [capsys.readouterr().out.splitlines()[:1], found]

    told = [['printed'], [(logging.WARNING, 'a warning')]]
    assert log() == told
    monkeypatch.setenv(variable, '0')
    assert log() == told
    monkeypatch.setenv(variable, '1')
    assert log() == [[], []]
