# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Evaluate a detector or a segmentor: python tools/test.py CONFIG CHECKPOINT [options]."""

from _start import start

if __name__ == '__main__':
    start('test')
