# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the check of a config."""

from __future__ import annotations

import argparse

from .runs import train_parser


def check_parser() -> argparse.ArgumentParser:
    """Options of ``tools/check_config.py``: those of training, and how thorough to be."""
    parser = argparse.ArgumentParser(
        description='Do all that tools/train.py does before it trains, and more: read the data and '
        'samples, build the model, measure a few steps, and estimate memory, time and disk. '
        'Nothing is written. Exit status 0: sound; 1: warnings, with --strict; 2: refused.',
        epilog='Example: python tools/check_config.py my.py --cfg-options '
        'train_dataloader.batch_size=4',
        parents=[train_parser(add_help=False)],
    )
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    parser.add_argument(
        '--strict', action='store_true', help='exit with status 1 if there are warnings'
    )
    parser.add_argument(
        '--samples',
        type=_number(1),
        default=8,
        metavar='N',
        help='training samples to read, spread over the data (default: 8)',
    )
    parser.add_argument(
        '--steps',
        type=_number(0),
        default=5,
        metavar='N',
        help='training steps to measure, for at most a minute; 0 leaves time and memory out '
        '(default: 5)',
    )
    return parser


def _number(least: int):
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f'{text!r} is no whole number from {least} on')
        return int(text)

    return read
