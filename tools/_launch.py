# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Starts several processes of a tool on this machine; dist_train.sh and dist_test.sh call it."""

import sys
from pathlib import Path

from _start import load

USAGES = {
    'train': 'CONFIG PROCESSES [options of train.py]',
    'test': 'CONFIG CHECKPOINT PROCESSES [options of test.py]',
}

if __name__ == '__main__':
    shell, tool, *argv = sys.argv[1:]
    launch = load('distributed/launch.py')
    place = USAGES[tool].split().index('PROCESSES')
    if len(argv) <= place or argv[0] in ('-h', '--help'):
        print(f'usage: {shell} {USAGES[tool]}\n{launch.USAGE}', file=sys.stderr)
        sys.exit(2)
    script = str(Path(__file__).with_name(f'{tool}.py'))
    arguments = [*argv[:place], '--launcher', 'pytorch', *argv[place + 1 :]]
    launch.main([script, argv[place], *arguments])
