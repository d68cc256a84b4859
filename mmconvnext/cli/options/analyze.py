# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the look at a model's mistakes."""

from __future__ import annotations

import argparse

from .runs import add_cfg_options, add_lenient, add_toy


def analyze_parser() -> argparse.ArgumentParser:
    """Options of ``tools/analyze.py``."""
    parser = argparse.ArgumentParser(
        description='Look at the mistakes of a detector or a segmentor on labelled data: figures '
        'of each class, confusion, thresholds, and the worst images beside their truth, in one '
        'HTML page with PNGs and a JSON file.',
        epilog='Example: python tools/analyze.py CONFIG work_dirs/run/epoch_36.pth --out mistakes',
    )
    parser.add_argument('config', help='config file, such as configs/mask_rcnn/....py')
    parser.add_argument(
        'checkpoint', help='file, URL or short name (tools/list_weights.py lists the names)'
    )
    parser.add_argument('--out', metavar='FOLDER', required=True, help='new or empty folder')
    parser.add_argument(
        '--split',
        choices=['val', 'test'],
        default='val',
        help="the data: the config's val_dataloader or test_dataloader (default: val; who improves "
        'a model by looking at the test data measures too well afterwards)',
    )
    parser.add_argument(
        '--worst',
        type=_count,
        default=16,
        metavar='N',
        help='draw so many of the worst images (default: 16)',
    )
    parser.add_argument(
        '--score',
        type=_fraction,
        default=0.5,
        help="leave out a detector's predictions below this score, except from AP and from curves "
        '(default: 0.5)',
    )
    parser.add_argument(
        '--iou',
        type=_fraction,
        default=0.5,
        help="a detector's prediction stands for an object that it overlaps so much (default: 0.5)",
    )
    add_toy(parser)
    add_lenient(parser)
    add_cfg_options(parser)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of images: 0, 1, 2, ...')
    return int(text)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not between 0 and 1, such as 0.3')
    return value
