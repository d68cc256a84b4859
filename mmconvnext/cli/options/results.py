# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the tools that look at results."""

from __future__ import annotations

import argparse

from .any_order import AnyOrder
from .runs import add_config_only_data

# The default of mmconvnext.load too, which these modules may not import.
SCORE = 0.3


def predict_parser() -> argparse.ArgumentParser:
    """Options of ``tools/predict.py``."""
    parser = AnyOrder(
        usage='%(prog)s CONFIG CHECKPOINT INPUT [INPUT ...] --out FOLDER [options]\n'
        '       %(prog)s WORK_DIR INPUT [INPUT ...] --out FOLDER [options]',
        description='Predict images and videos with a trained detector or segmentor. The same '
        'command continues where it was stopped. Exit status 1 if a file was bad; the others are '
        'done.',
        epilog="Example: python tools/predict.py work_dirs/my photos 'more/*.png' --out drawn",
    )
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='PATH',
        help='the config file and the checkpoint (file, URL or short name), or the folder of a '
        "run; then images, videos, folders (with all below), patterns such as 'photos/*.jpg', "
        '@FILE with a path in each line, or camera:0 until Ctrl-C',
    )
    parser.add_argument(
        '--out',
        required=True,
        metavar='FOLDER',
        help='where all is written: new, empty, or begun by the same command',
    )
    parser.add_argument(
        '--score',
        type=float,
        default=SCORE,
        metavar='S',
        help='leave out objects with a lower score, 0 to 1 (default: %(default)s)',
    )
    parser.add_argument(
        '--json',
        action='store_true',
        help="write predictions.json, results in COCO's form, and coco.json, a data set that "
        'labelling tools import',
    )
    parser.add_argument('--crops', action='store_true', help='write each object as an image')
    parser.add_argument(
        '--label-pngs',
        action='store_true',
        help='write label maps, with the values that the model was trained with',
    )
    parser.add_argument(
        '--outline',
        action='store_true',
        help='draw the outlines of masks and areas only, so that the image shows',
    )
    parser.add_argument('--no-pictures', dest='pictures', action='store_false', help='draw nothing')
    parser.add_argument(
        '--ids-of',
        metavar='COCO_FILE',
        help='take the ids of images and categories for --json from these annotations, so that '
        "COCO's evaluation compares both (default: counted from 1)",
    )
    parser.add_argument(
        '--tiles',
        type=_tiles,
        metavar='PIXELS',
        help='look at large images in square tiles of this side and join the results; auto: only '
        'where the recipe shrinks an image to less than half',
    )
    parser.add_argument(
        '--overlap',
        type=float,
        default=0.2,
        metavar='PART',
        help='of neighbouring tiles, as a part of their side, 0 to 0.5 (default: 0.2)',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="use the recipe's test-time augmentation (UPerNet: several scales and flips)",
    )
    parser.add_argument(
        '--batch',
        type=_positive,
        metavar='N',
        help='images at once (default: 1 on a CPU, 4 on a GPU)',
    )
    parser.add_argument('--device', help='such as cpu or cuda:1 (default: the GPU if there is one)')
    add_config_only_data(parser)
    return parser


def _tiles(text: str) -> int | str:
    return text if text == 'auto' else _positive(text)


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f'{text!r} is not a whole number above 0')
    return int(text)
