# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Warnings of mmseg about its own defaults and old names, which the user can do nothing about."""

from __future__ import annotations

import warnings

# How they begin, as patterns.
IDLE = (
    'Default ``avg_non_ignore`` is False',
    'For binary segmentation, we suggest using',
    'The draw is False, it means that the hook for visualization',
    '`reduce_zero_label` will be deprecated',
    '``build_loss`` would be deprecated',
)


def ignore_idle_warnings() -> None:
    """Add filters for IDLE to those of the process; within ``catch_warnings`` they end with it."""
    for text in IDLE:
        warnings.filterwarnings('ignore', text, UserWarning)
