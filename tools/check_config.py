# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Check a config before a night of training: python tools/check_config.py CONFIG [options]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('check_config')
