# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the tools for own data: prepare it, write a config for it, look at it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from .runs import add_cfg_options, add_config_only_data, add_toy
from .values import name, path

# Names of the formats; a test compares them with mmconvnext/data/exports.
FORMATS = ('coco', 'yolo', 'voc', 'labelme', 'cvat', 'masks')
# A test compares them with mmconvnext/project/choices.py.
SIZES = ('atto', 'femto', 'pico', 'nano', 'tiny', 'small', 'base', 'large', 'xlarge')


def prepare_parser() -> argparse.ArgumentParser:
    """Options of ``tools/prepare_data.py``."""
    parser = _Parser(
        description='Read images with labels of any common tool, check them, divide them into '
        'train and val, and write what own_data of a config reads: OUT/annotations/*.json in '
        "COCO's form, or OUT/{train,val}/{images,labels} for label maps, with OUT/report.json. "
        'Nothing below SOURCE is changed.',
        epilog='Example: python tools/prepare_data.py my_export data/mine --val 0.2',
    )
    parser.add_argument(
        'source',
        nargs='?',
        type=_path,
        help='folder with images and labels, or one COCO or CVAT file',
    )
    parser.add_argument('out', nargs='?', type=_path, help='folder to write, which must not exist')
    parser.add_argument(
        '--format',
        choices=('auto', *FORMATS),
        default='auto',
        help='how the labels are written; masks: label PNGs with ids, colours, or 0 and 255 '
        '(default: auto, by looking)',
    )
    parser.add_argument(
        '--task',
        choices=('instance', 'semantic'),
        default='',
        help='instance: boxes, and masks where there are some; semantic: label maps '
        '(default: semantic for masks, else instance)',
    )
    parser.add_argument(
        '--val',
        type=_fraction,
        default=0.2,
        metavar='FRACTION',
        help='of the images, and of those that show each class, for validation (default: 0.2); '
        'a split into train and val that the export has is kept',
    )
    parser.add_argument(
        '--group',
        type=_group,
        default='none',
        metavar='REGEX|folder|none',
        help='images that stay together, such as frames of one video: those for which the group '
        "of the expression is the same text, such as '(.+)_[0-9]+[.]', or those in one folder "
        '(default: none)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the division (default: 0)')
    parser.add_argument(
        '--resplit',
        dest='again',
        action='store_true',
        help='divide again what the export has divided into train and val',
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        type=name,
        default=[],
        metavar='NAME',
        help='take these classes only, in this order; or name the numbers of YOLO or the values of '
        'label maps that have no names',
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--link', action='store_true', help='link the images, which need no room (the default)'
    )
    how.add_argument(
        '--copy', action='store_true', help='copy the images, so that OUT works on other machines'
    )
    parser.add_argument(
        '--apply-exif',
        action='store_true',
        help='the labels were drawn on the stored images, not on those turned by EXIF',
    )
    parser.add_argument(
        '--crowd-as-object',
        action='store_true',
        help="objects with iscrowd=1 are ordinary ones, as in the COCO file of CVAT's brush masks",
    )
    parser.add_argument(
        '--polygons',
        choices=('auto', 'points', 'pixels'),
        default='auto',
        help='pixels: polygons go through the middles of the outermost pixels, as of '
        'cv2.findContours, so these belong to the mask (default: auto, if all edges go along rows, '
        'columns and diagonals of pixels)',
    )
    checks = parser.add_argument_group('the public data of the recipes, instead of SOURCE and OUT')
    for kind, title in (('coco', 'COCO 2017'), ('ade', 'ADE20K')):
        checks.add_argument(
            f'--check-{kind}',
            type=_path,
            metavar='FOLDER',
            help=f'compare names, counts and sizes of {title} with what is expected',
        )
    checks.add_argument(
        '--lay-out',
        type=_path,
        metavar='OUT',
        help='before that, link folders and extract archives below FOLDER into OUT, such as '
        'data/coco; nothing is downloaded',
    )
    return parser


class _Parser(argparse.ArgumentParser):
    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        found = super().parse_args(args, namespace)
        checks = bool(found.check_coco) + bool(found.check_ade)
        if checks > 1:
            self.error('give one of --check-coco and --check-ade')
        if checks and found.source:
            self.error(
                '--check-coco and --check-ade take no SOURCE; for a layout add --lay-out OUT'
            )
        if not checks and found.lay_out:
            self.error('--lay-out needs --check-coco or --check-ade')
        if not checks and not found.out:
            self.error('the following arguments are required: source, out')
        return found


def project_parser() -> argparse.ArgumentParser:
    """Options of ``tools/new_project.py``."""
    parser = argparse.ArgumentParser(
        description='Look at a folder of images and annotations and write a short config for them, '
        'in which each choice has its reason.',
        epilog='Example: python tools/new_project.py data/nuclei --task instance. Other formats '
        'than COCO files and label maps: tools/prepare_data.py converts them first.',
    )
    parser.add_argument('data', type=path, help='folder that holds the images and annotations')
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
        type=path,
        metavar='CONFIG',
        help='.py file to write; must not exist (default: the name of the folder and the task)',
    )
    parser.add_argument(
        '--images',
        type=path,
        nargs='+',
        metavar='FOLDER',
        help='folder of the images, for training and validation (default: found by their names)',
    )
    parser.add_argument(
        '--annotations',
        type=path,
        nargs='+',
        metavar='PATH',
        help='COCO file or folder of label maps for training, then for validation (default: found '
        'by their names; without one for validation, a fifth of the images)',
    )
    parser.add_argument(
        '--classes',
        type=name,
        nargs='+',
        metavar='NAME',
        help='of label maps: names in the order of their ids (default: from a file beside them)',
    )
    return parser


def browse_parser() -> argparse.ArgumentParser:
    """Options of ``tools/browse_dataset.py``."""
    parser = argparse.ArgumentParser(
        description='Show a dataset before it is trained on: samples as in the file and as the '
        'model gets them, contact sheets of the classes, figures, and suspicious things, on one '
        'HTML page.',
        epilog='Example: python tools/browse_dataset.py my.py --out looks --num 50',
    )
    parser.add_argument('config', type=path, help='config file, such as configs/mask_rcnn/....py')
    parser.add_argument(
        '--out',
        type=path,
        required=True,
        metavar='FOLDER',
        help='folder for the page, new or empty',
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
    add_config_only_data(parser)
    return parser


def _path(text: str) -> Path:
    return Path(path(text))


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not between 0 and 1, such as 0.2')
    return value


def _group(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise argparse.ArgumentTypeError(f'{text!r} is no regular expression: {error}') from error
    if text not in ('none', 'folder') and groups != 1:
        raise argparse.ArgumentTypeError(
            f'{text!r} has {groups} groups: put the part that is the same in one pair of '
            "parentheses, such as '(.+)_[0-9]+[.]', or write folder or none"
        )
    return text


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number, such as 0 or 24')
    return int(text)
