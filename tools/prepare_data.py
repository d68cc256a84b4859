# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Prepare people's data: python tools/prepare_data.py SOURCE OUT [options]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('prepare_data')
