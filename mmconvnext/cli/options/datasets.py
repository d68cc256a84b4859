# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the tools that look at datasets."""

from __future__ import annotations

import argparse

from .runs import add_cfg_options, add_toy


def browse_parser() -> argparse.ArgumentParser:
    """Options of ``tools/browse_dataset.py``."""
    parser = argparse.ArgumentParser(
        description='Show a dataset before it is trained on: samples as in the file and as the '
        'model gets them, contact sheets of the classes, figures, and suspicious things, on one '
        'HTML page.',
        epilog='Example: python tools/browse_dataset.py my.py --out looks --num 50',
    )
    parser.add_argument('config', help='config file, such as configs/mask_rcnn/....py')
    parser.add_argument(
        '--out', required=True, metavar='FOLDER', help='folder for the page, new or empty'
    )
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test'],
        default='train',
        help='the data to look at (default: train)',
    )
    parser.add_argument(
        '--num',
        type=_count,
        default=24,
        metavar='N',
        help='samples to draw, chosen at random (default: 24)',
    )
    parser.add_argument(
        '--augmented',
        type=_count,
        default=1,
        metavar='N',
        help='how often each sample is drawn as the model gets it, each time with other random '
        'augmentation (default: 1; 0: only as in the file)',
    )
    parser.add_argument(
        '--seed',
        type=_count,
        default=0,
        help='chooses samples, crops and augmentation (default: 0)',
    )
    add_toy(parser)
    add_cfg_options(parser)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number, such as 0 or 24')
    return int(text)
