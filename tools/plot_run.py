# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Draw the curves of trainings: python tools/plot_run.py WORK_DIR... [options]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('plot_run')
