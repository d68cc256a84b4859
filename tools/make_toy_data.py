#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Writes the toy datasets on which small detectors and segmentors learn within minutes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout as well

TASKS = ('coco', 'ade', 'panoptic')  # each has a writer of its name in mmconvnext.toy


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write toy images of discs, squares, triangles and stars, the same for the '
        "same seed: OUT/coco in COCO's format for detection, OUT/ade in ADE20K's for semantic and "
        "OUT/panoptic in COCO's for panoptic segmentation. Folders that already hold the same data "
        'are left unchanged.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('out', type=Path, help='folder to write into, such as data/toy')
    parser.add_argument('--task', choices=[*TASKS, 'all'], default='all', help='format to write')
    parser.add_argument('--num-train', type=int, default=440, help='training images')
    parser.add_argument('--num-val', type=int, default=40, help='validation images')
    parser.add_argument('--size', type=int, default=192, help='side of the square images in pixels')
    parser.add_argument('--seed', type=int, default=0, help='seed of the images')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmconvnext import toy  # after the options, so that --help answers at once

    for task in TASKS if args.task == 'all' else [args.task]:
        try:
            root = getattr(toy, f'write_{task}')(
                args.out / task, args.num_train, args.num_val, args.size, args.seed
            )
        except (FileExistsError, ValueError) as error:
            sys.exit(f'make_toy_data: {error}')
        print(f'{task}: {root}')


if __name__ == '__main__':
    main()
