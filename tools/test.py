# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Evaluate a detector or a segmentor: python tools/test.py CONFIG CHECKPOINT [options]."""

from mmconvnext.cli.prepare import run
from mmconvnext.cli.test import main

if __name__ == '__main__':
    run(main)
