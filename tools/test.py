# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Evaluate a detector or a segmentor: python tools/test.py CONFIG CHECKPOINT [options]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('test')
