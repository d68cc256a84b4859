# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Compute a step again whose numbers were not finite: python tools/repeat_step.py DUMP."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('repeat_step')
