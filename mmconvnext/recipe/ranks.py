# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Rank and number of processes, read before mmengine sets up the process group."""

from __future__ import annotations

import logging
import os

from mmengine.logging import print_log

# Set by torchrun, by slurm and by Open MPI, in this order.
RANK = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
WORLD_SIZE = ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')

# Set by torchrun: how often it has started the processes again. Set by tools/dist_train.sh
# (distributed/launch.py): when it has started them first, in seconds since 1970.
RESTARTS, LAUNCHED = 'TORCHELASTIC_RESTART_COUNT', 'MMCONVNEXT_LAUNCHED'


def rank() -> int:
    """Rank of this process; 0 if no launcher has set one."""
    return _first(RANK, 0)


def world_size() -> int:
    """Number of processes in this run; 1 if no launcher has set it."""
    return _first(WORLD_SIZE, 1)


def restarted() -> tuple[int, float]:
    """How often tools/dist_train.sh has started this run again, and when it began; (0, 0.0) else.

    Only what was saved since then is of this run.
    """
    began = float(os.environ.get(LAUNCHED, 0))
    return (int(os.environ.get(RESTARTS, 0)), began) if began else (0, 0.0)


def log_rank0(line: str, level: int = logging.INFO) -> None:
    """Log a line on rank 0, also before the runner has set up its logger (INFO is printed)."""
    if rank() == 0:
        print_log(line, logger=None if level == logging.INFO else 'current', level=level)


def _first(names: tuple[str, ...], default: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), default)
