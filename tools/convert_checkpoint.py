#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Convert weights between the formats of Meta, mmpretrain, timm, Hugging Face and this package."""

from _start import start

if __name__ == '__main__':
    start('convert')
