# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Rank and number of processes, read before mmengine sets up the process group."""

from __future__ import annotations

import logging
import os

from mmengine.logging import print_log

# Set by torchrun, by slurm and by Open MPI, in this order.
RANK = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
WORLD_SIZE = ('WORLD_SIZE', 'SLURM_NTASKS', 'OMPI_COMM_WORLD_SIZE')

# Set by torchrun: how often it may start the processes again. Set by tools/dist_train.sh
# (distributed/launch.py): when it has started them first, in seconds since 1970.
RESTARTS, LAUNCHED = 'TORCHELASTIC_MAX_RESTARTS', 'MMCONVNEXT_LAUNCHED'


def rank() -> int:
    """Rank of this process; 0 if no launcher has set one."""
    return _first(RANK, 0)


def world_size() -> int:
    """Number of processes in this run; 1 if no launcher has set it."""
    return _first(WORLD_SIZE, 1)


def launched() -> float | None:
    """When tools/dist_train.sh began this run, in seconds since 1970, if it may start it again.

    What was saved since then is of this run. torchrun's own count of restarts does not tell: it
    stays 0 on a machine whose processes were sound.
    """
    began = os.environ.get(LAUNCHED)
    return float(began) if began and os.environ.get(RESTARTS, '0') != '0' else None


def log_rank0(line: str, level: int = logging.INFO) -> None:
    """Log a line on rank 0, also before the runner has set up its logger (INFO is printed)."""
    if rank() == 0:
        print_log(line, logger=None if level == logging.INFO else 'current', level=level)


def _first(names: tuple[str, ...], default: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), default)
