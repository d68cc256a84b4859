#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Convert weights between the formats of Meta, mmpretrain, timm, Hugging Face and this package."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('convert')
