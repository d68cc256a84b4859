# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What all tests share: fixed seeds, a network small enough for any test, the log as a list."""

import logging
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# Last, so that the packages themselves come first where they are installed.
sys.path.append(str(Path(__file__).parent / 'stand_ins'))


@pytest.fixture(autouse=True)
def _seeds():
    """Make every test independent of those before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def tiny_arch() -> dict:
    """Four stages, five blocks, 0.1M parameters."""
    return dict(depths=[1, 1, 2, 1], channels=[8, 16, 32, 64])


@pytest.fixture
def log_records():
    """What mmengine's current logger is told during the test, from INFO up."""
    from mmengine.logging import MMLogger

    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record)

    records: list[logging.LogRecord] = []
    logger, handler = MMLogger.get_current_instance(), Keep(logging.INFO)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
