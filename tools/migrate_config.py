#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Rewrite a config of another ConvNeXt: python tools/migrate_config.py CONFIG [-o OUT]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('migrate')
