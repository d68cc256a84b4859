# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the tools that look at runs, models and their mistakes."""

from __future__ import annotations

import argparse

from .any_order import AnyOrder
from .results import SCORE
from .runs import add_cfg_options, add_config_only_data, add_lenient, add_toy


def plot_parser() -> argparse.ArgumentParser:
    """Options of ``tools/plot_run.py``."""
    parser = AnyOrder(
        description='Draw the curves of one or several trainings into one PNG: loss and its parts, '
        'learning rate of each depth group, metrics, seconds per iteration. Works while they run.',
        epilog='Example: python tools/plot_run.py work_dirs/first work_dirs/second --out both.png',
    )
    parser.add_argument(
        'runs',
        nargs='+',
        metavar='RUN',
        help='work dir (all its starts make one curve), folder of one start, or scalars.json',
    )
    parser.add_argument(
        '--out',
        default='run.png',
        metavar='FILE',
        help='PNG to write; an earlier plot of this tool is replaced, any other file is refused '
        '(default: run.png)',
    )
    parser.add_argument(
        '--keys',
        nargs='+',
        metavar='KEY',
        help="draw a panel for each of these instead: a key of the log, the end of one ('mAP'), or "
        "a pattern ('loss*')",
    )
    parser.add_argument(
        '--smooth',
        type=_weight,
        metavar='WEIGHT',
        help='weight of the past in a moving average, from 0 (none) to below 1; the values stay '
        'visible behind it (default: 0.9 for curves of more than 200 points)',
    )
    return parser


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1
    if not 0 <= weight < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 0 to below 1, such as 0.9')
    return weight


def flops_parser() -> argparse.ArgumentParser:
    """Options of ``tools/get_flops.py``."""
    parser = AnyOrder(
        description='Count FLOPs (multiply-adds) and parameters of backbone, neck and heads of any '
        'model of mmdet or mmseg.',
        epilog='Example: python tools/get_flops.py --published',
    )
    parser.add_argument('config', nargs='?', help='config file, such as configs/mask_rcnn/....py')
    parser.add_argument(
        '--shape',
        nargs='+',
        type=_side,
        metavar='SIDE',
        help='height and width of the image, or one side of a square (default: as published, 800 '
        "1280 for detectors, the crop's height and four times it for segmentors)",
    )
    parser.add_argument(
        '--published',
        action='store_true',
        help='count all recipes with published figures instead, and show both; exit status 1 if '
        'one differs by more than 1 %%',
    )
    parser.add_argument('--json', action='store_true', help='print JSON')
    add_config_only_data(parser)
    return parser


def _side(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number above 0')
    return int(text)


def maps_parser() -> argparse.ArgumentParser:
    """Options of ``tools/feature_maps.py``."""
    parser = argparse.ArgumentParser(
        description='Draw the feature maps that a backbone returns for an image: principal '
        'components of the channels as red, green and blue, and the mean strength below.',
        epilog='Example: python tools/feature_maps.py CONFIG CHECKPOINT image.jpg --out maps.png',
    )
    parser.add_argument('config', help='config file of any detector or segmentor')
    parser.add_argument(
        'checkpoint', help='file, URL or short name (tools/list_weights.py lists the names)'
    )
    parser.add_argument('image', help='image file, loaded and resized as for a test')
    parser.add_argument('--out', required=True, metavar='FILE', help='PNG to write; must not exist')
    parser.add_argument(
        '--stage', type=_index, metavar='I', help='only this map, from 0 on (default: all)'
    )
    view = parser.add_mutually_exclusive_group()
    view.add_argument('--pca', action='store_true', help='only the principal components')
    view.add_argument(
        '--channels',
        nargs='?',
        const=16,
        type=_side,
        metavar='N',
        help='instead, the N channels (16) of each stage that vary most over the image',
    )
    parser.add_argument('--device', help="such as 'cpu' or 'cuda:1' (default: the GPU if any)")
    add_config_only_data(parser)
    return parser


def _index(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is not the number of a map, such as 0')
    return int(text)


def analyze_parser() -> argparse.ArgumentParser:
    """Options of ``tools/analyze.py``."""
    parser = AnyOrder(
        description='Look at the mistakes of a detector or a segmentor on labelled data: figures '
        'of each class, confusion, thresholds, and the worst images beside their truth, in one '
        'HTML page with PNGs and a JSON file.',
        epilog='Example: python tools/analyze.py CONFIG work_dirs/run/epoch_36.pth --out mistakes',
    )
    parser.add_argument('config', help='config file, or the folder of a run')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='file, URL or short name (default: of the folder of a run the best, else the last)',
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
        default=SCORE,
        help="leave out a detector's predictions below this score, except from AP and from curves "
        '(default: %(default)s)',
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
    add_config_only_data(parser)
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
