# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Look at the mistakes of a model: python tools/analyze.py CONFIG CHECKPOINT --out FOLDER."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('analyze')
