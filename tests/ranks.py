# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What ranks do in tests. A module of a test would make their processes sessions of their own."""

import time


def fail_or_wait(rank: int) -> None:
    """Rank 1 fails, rank 0 would wait for it."""
    if rank:
        raise ValueError('rank 1 has a bug')
    time.sleep(100)
