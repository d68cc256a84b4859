# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Count FLOPs and parameters: python tools/get_flops.py CONFIG [options]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('get_flops')
