#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Convert weights between the formats of Meta, mmpretrain, timm, Hugging Face and this package."""

from mmconvnext.cli.convert import main
from mmconvnext.cli.prepare import run

if __name__ == '__main__':
    run(main)
