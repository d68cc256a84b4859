# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Command-line options, spelt as in mmdet's and mmseg's own tools."""

from __future__ import annotations

import argparse
import re

from mmengine.config import DictAction

AT_DELIMITERS = re.compile(r'(?<=[\[(,]) +| +(?=[\]),])')


class Settings(DictAction):
    """KEY=VALUE as mmengine reads it, but spaces inside of values stay: of folders, of classes."""

    @staticmethod
    def _parse_iterable(val: str) -> object:
        # mmengine takes all spaces away, so they wait as another character, which no argument has.
        text = AT_DELIMITERS.sub('', val.strip()).replace(' ', '\0')
        return _with_spaces(DictAction._parse_iterable(text))


def _with_spaces(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_spaces, value))
    return value.replace('\0', ' ') if isinstance(value, str) else value


def train_parser() -> argparse.ArgumentParser:
    """Options of ``tools/train.py``."""
    parser = argparse.ArgumentParser(description='Train a detector or a segmentor.')
    parser.add_argument('config', help='config file, such as configs/mask_rcnn/...')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue the run in the work dir from its last checkpoint, or from the given one',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision, also where it is off')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale learning rates by this run's batch size over the recipe's",
    )
    _add_common(parser)
    return parser


def test_parser() -> argparse.ArgumentParser:
    """Options of ``tools/test.py``."""
    parser = argparse.ArgumentParser(description='Evaluate a detector or a segmentor.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, path or URL')
    parser.add_argument(
        '--out',
        help='save the predictions: a .pkl file (detection) or a folder of label maps '
        '(segmentation)',
    )
    parser.add_argument('--show-dir', help='draw the predictions into this folder')
    parser.add_argument(
        '--tta', action='store_true', help="the recipe's test-time augmentation (UPerNet: ms+flip)"
    )
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work-dir', help='logs and checkpoints; work_dirs/<config> by default')
    parser.add_argument(
        '--toy', action='store_true', help='rehearse on toy data: minutes on a CPU, same recipe'
    )
    parser.add_argument(
        '--lenient',
        action='store_true',
        help='load what fits of a checkpoint that does not fill the model; lenient_loading = True '
        'in the config does the same',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Settings,
        metavar='KEY=VALUE',
        help='settings of the config to change, such as train_dataloader.batch_size=4',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes it; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
