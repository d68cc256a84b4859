# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Bytes and seconds as people read them."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes in MB or GB of 1000, as disks are labelled: '56 MB', '1.2 GB'."""
    return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.0f} MB'


def duration(seconds: float) -> str:
    """'0.62 s', '45 s', '19 min', '3.2 h', '2.5 days'."""
    if seconds < 10:
        return f'{seconds:.2f} s'
    for limit, unit, name, digits in (
        (100, 1, 's', 0),
        (6000, 60, 'min', 0),
        (48 * 3600, 3600, 'h', 1),
    ):
        if seconds < limit:
            return f'{seconds / unit:.{digits}f} {name}'
    return f'{seconds / 86400:.1f} days'
