# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Write a config for your data: python tools/new_project.py DATA [options]."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('new_project')
