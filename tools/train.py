# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Train a detector or a segmentor: python tools/train.py CONFIG [options]."""

from mmconvnext.cli.prepare import run
from mmconvnext.cli.train import main

if __name__ == '__main__':
    run(main)
