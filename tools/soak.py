# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Kill and resume toy runs, compare their ends: python tools/soak.py [--kills N] [--out FOLDER]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('soak')
