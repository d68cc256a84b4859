# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Train a detector or a segmentor: python tools/train.py CONFIG [options]."""

from _start import start

if __name__ == '__main__':
    start('train')
