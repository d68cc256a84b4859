# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the tool that writes a config for one's own data."""

from __future__ import annotations

import argparse

# A test compares them with mmconvnext/project/choices.py.
SIZES = ('atto', 'femto', 'pico', 'nano', 'tiny', 'small', 'base', 'large', 'xlarge')


def project_parser() -> argparse.ArgumentParser:
    """Options of ``tools/new_project.py``."""
    parser = argparse.ArgumentParser(
        description='Look at a folder of images and annotations and write a short config for them, '
        'in which each choice has its reason.',
        epilog='Example: python tools/new_project.py data/nuclei --task instance. Other formats '
        'than COCO files and label maps: tools/prepare_data.py converts them first.',
    )
    parser.add_argument('data', help='folder that holds the images and annotations')
    parser.add_argument(
        '--task',
        choices=['det', 'instance', 'semantic'],
        help='boxes, boxes and masks, or a class for each pixel (default: what the data have)',
    )
    parser.add_argument(
        '--size', choices=SIZES, help='of the backbone (default: atto on a CPU, tiny on a GPU)'
    )
    parser.add_argument(
        '--device',
        choices=['cpu', 'gpu'],
        help='where it will be trained (default: a GPU if torch sees one here)',
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        '--pretrained',
        action='store_true',
        help='start from ImageNet weights (default: if they can be downloaded)',
    )
    weights.add_argument(
        '--random', action='store_true', help='start from random weights, without a download'
    )
    parser.add_argument(
        '--out',
        metavar='CONFIG',
        help='.py file to write; must not exist (default: the name of the folder and the task)',
    )
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='FOLDER',
        help='folder of the images, for training and validation (default: found by their names)',
    )
    parser.add_argument(
        '--annotations',
        nargs='+',
        metavar='PATH',
        help='COCO file or folder of label maps for training, then for validation (default: found '
        'by their names; without one for validation, a fifth of the images)',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME',
        help='of label maps: names in the order of their ids (default: from a file beside them)',
    )
    return parser
